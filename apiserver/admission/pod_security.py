"""PodSecurity: what a namespace's labels say of its pods (pod-security-admission/admission).

    pod-security.kubernetes.io/enforce: restricted     a pod that does not meet the level is refused
    pod-security.kubernetes.io/warn, audit             it is told to the client, or in the audit log; also of what makes pods

Of the versions of the standards there is the latest alone: `enforce-version` is checked and shown, older checks are not kept.
"""

import re

from apiserver.admission.plugin import refusal, spec_of
from apiserver.admission.pod_standards import LEVELS, PRIVILEGED, Fault, faults
from apiserver.machinery.objects import Object, labels_of, name_of
from apiserver.machinery.status import Cause, invalid, invalid_value
from apiserver.request import Passive, Reader, Write

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
VERSION = re.compile(r"\A(latest|v1\.(0|[1-9][0-9]{0,3}))\Z")
TEMPLATES = {
    **dict.fromkeys(("deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch"), ("spec", "template")),
    "replicationcontrollers": ("spec", "template"),
    "podtemplates": ("template",),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
PODS_LOOKED_AT_MAX = 3000
"""Of a namespace whose level is raised (upstream's limit)."""
WARNED_MAX = 10


class PodSecurity(Passive):
    name = "PodSecurity"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, write: Write) -> None:
        if write.operation not in ("CREATE", "UPDATE") or write.object is None:
            return
        resource = write.resource.qualified
        if resource == "namespaces" and not write.subresource:
            self._namespace(write, write.object)
        elif resource == "pods" and write.subresource in ("", "ephemeralcontainers", "resize"):
            self._pod(write, write.object)
        elif resource in TEMPLATES and not write.subresource:
            self._template(write, write.object, TEMPLATES[resource])

    def _levels(self, write: Write) -> dict[str, tuple[str, str]]:
        labels = labels_of(self._reader.get("namespaces", "", write.namespace) or {})
        return {mode: (labels.get(PREFIX + mode, PRIVILEGED), labels.get(f"{PREFIX}{mode}-version", "latest")) for mode in MODES}

    def _pod(self, write: Write, pod: Object) -> None:
        if write.operation == "UPDATE" and _same_demands(pod, write.old_object or {}):
            return
        levels = self._levels(write)
        level, version = levels["enforce"]
        found = _faults(level, pod)
        write.annotations["pod-security.kubernetes.io/enforce-policy"] = f"{level}:{version}"
        if found:
            raise refusal(write, f'violates PodSecurity "{level}:{version}": {_told(found)}')
        self._tell(write, pod, levels)

    def _template(self, write: Write, obj: Object, path: tuple[str, ...]) -> None:
        found: Object | None = obj
        for part in path:
            found = (found or {}).get(part)
        if found:
            self._tell(write, found, self._levels(write))

    def _tell(self, write: Write, pod: Object, levels: dict[str, tuple[str, str]]) -> None:
        for mode in ("audit", "warn"):
            level, version = levels[mode]
            found = _faults(level, pod)
            if not found:
                continue
            told = f'would violate PodSecurity "{level}:{version}": {_told(found)}'
            if mode == "warn":
                write.warnings.append(told)
            else:
                write.annotations["pod-security.kubernetes.io/audit-violations"] = told

    def _namespace(self, write: Write, namespace: Object) -> None:
        labels, before = labels_of(namespace), labels_of(write.old_object or {})
        causes = _label_faults(labels)
        if causes and (write.old_object is None or causes != _label_faults(before)):
            raise invalid("", "Namespace", name_of(namespace), causes)
        level = labels.get(PREFIX + "enforce", PRIVILEGED)
        if write.old_object is not None and level != before.get(PREFIX + "enforce", PRIVILEGED) and level in LEVELS:
            self._warn_of_pods(write, name_of(namespace), level, labels.get(f"{PREFIX}enforce-version", "latest"))

    def _warn_of_pods(self, write: Write, namespace: str, level: str, version: str) -> None:
        bad: list[str] = []
        for number, pod in enumerate(self._reader.list("pods", namespace)):
            if number == PODS_LOOKED_AT_MAX:
                break
            if found := _faults(level, pod):
                bad.append(f"{name_of(pod)}: {', '.join(each.reason for each in found)}")
        if bad:
            write.warnings.append(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}:{version}"')
            write.warnings.extend(bad[:WARNED_MAX])


def _faults(level: str, pod: Object) -> list[Fault]:
    # A level that is no level was let in before somebody looked, or past admission: the strictest is the safe reading (upstream's, too).
    return faults(level if level in LEVELS else LEVELS[-1], pod)


def _told(found: list[Fault]) -> str:
    return ", ".join(str(each) for each in found)


def _label_faults(labels: dict[str, str]) -> list[Cause]:
    causes = []
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            causes.append(invalid_value(f"metadata.labels[{PREFIX}{mode}]", level, f"must be one of {', '.join(LEVELS)}"))
        if version is not None and not VERSION.match(version):
            causes.append(invalid_value(f"metadata.labels[{PREFIX}{mode}-version]", version, 'must be "latest" or "v1.x"'))
    return causes


def _same_demands(new: Object, old: Object) -> bool:
    """What a pod may change without asking for more: what is not in the spec, and there deadlines and tolerations."""
    free = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "nodeName", "schedulingGates")
    wanted, had = ({key: value for key, value in spec_of(each).items() if key not in free} for each in (new, old))
    return wanted == had
