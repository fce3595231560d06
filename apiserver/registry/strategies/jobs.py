"""Jobs and cron jobs (pkg/apis/batch/validation; pkg/registry/batch/job/strategy.go for the selector that the server makes)."""

from typing import Any
from zoneinfo import available_timezones

from apiserver.machinery.objects import Object, metadata
from apiserver.machinery.status import Cause, invalid_value, not_supported, required
from apiserver.registry.strategies import cron, warnings
from apiserver.registry.strategies.checks import at_least_zero, each, is_empty_selector, matches, one_of, selector, text, unchanged
from apiserver.registry.strategies.pod_spec import template
from apiserver.registry.strategies.workloads import DOES_NOT_MATCH, Workload
from apiserver.registry.strategy import Strategy

UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
INDEXED_COMPLETIONS_MAX = 100_000
CRON_JOB_NAME_MAX = 52
"""A job's name is its cron job's and eleven characters more."""
COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)


def job_spec(spec: Object, path: str) -> list[Cause]:
    found = [cause for field in COUNTS for cause in at_least_zero(spec.get(field), f"{path}.{field}")]
    found += template(spec.get("template"), f"{path}.template")
    pod = (spec.get("template") or {}).get("spec") or {}
    if pod.get("restartPolicy") == "Always":
        # Always is also what a pod gets that says nothing.
        told = Cause("FieldValueRequired", 'Required value: valid values: "OnFailure", "Never"', f"{path}.template.spec.restartPolicy")
        found.append(told)
    found += one_of(spec.get("completionMode"), f"{path}.completionMode", ("Indexed", "NonIndexed"))
    found += one_of(spec.get("podReplacementPolicy"), f"{path}.podReplacementPolicy", ("Failed", "TerminatingOrFailed"))
    if spec.get("completionMode") == "Indexed":
        if spec.get("completions") is None:
            found.append(required(f"{path}.completions", "when completion mode is Indexed"))
        if (spec.get("parallelism") or 0) > INDEXED_COMPLETIONS_MAX:
            told_of = f"must be less than or equal to {INDEXED_COMPLETIONS_MAX} when completion mode is Indexed"
            found.append(invalid_value(f"{path}.parallelism", spec["parallelism"], told_of))
    elif spec.get("backoffLimitPerIndex") is not None:
        found.append(invalid_value(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode"))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        found.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    return found + _failure_policy(spec, path, pod)


def _failure_policy(spec: Object, path: str, pod: Object) -> list[Cause]:
    policy = spec.get("podFailurePolicy")
    if not isinstance(policy, dict):
        return []
    found: list[Cause] = []
    if pod.get("restartPolicy") != "Never":
        found.append(
            invalid_value(
                f"{path}.template.spec.restartPolicy", pod.get("restartPolicy"), 'only "Never" is supported when podFailurePolicy is specified'
            )
        )
    for at, rule in each(policy.get("rules"), f"{path}.podFailurePolicy.rules"):
        found += one_of(rule.get("action"), f"{at}.action", ("Count", "FailIndex", "FailJob", "Ignore"), needed=True)
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes and conditions:
            found.append(invalid_value(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported"))
        elif not codes and not conditions:
            found.append(invalid_value(at, rule, "specifying one of OnExitCodes and OnPodConditions is required"))
        elif codes:
            found += one_of(codes.get("operator"), f"{at}.onExitCodes.operator", ("In", "NotIn"), needed=True)
    return found


class JobStrategy(Workload):
    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec = obj.get("spec")
        if not isinstance(spec, dict) or spec.get("manualSelector"):
            return
        made = spec.get("template")
        if not isinstance(made, dict):
            return
        meta = metadata(obj)
        labels = made.setdefault("metadata", {}).setdefault("labels", {})
        for label in NAME_LABELS:
            labels.setdefault(label, meta.get("name", ""))
        for label in UID_LABELS:
            labels.setdefault(label, meta.get("uid", ""))
        wanted = spec.setdefault("selector", {})
        wanted.setdefault("matchLabels", {}).setdefault(UID_LABELS[0], meta.get("uid", ""))

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = job_spec(spec, "spec")
        wanted = spec.get("selector")
        if not isinstance(wanted, dict):
            found.append(required("spec.selector"))
        else:
            found += selector(wanted, "spec.selector")
            its_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
            if is_empty_selector(wanted) or not matches(wanted, its_labels):
                found.append(invalid_value("spec.template.metadata.labels", its_labels, DOES_NOT_MATCH))
            if not spec.get("manualSelector") and not matches(wanted, {label: (obj.get("metadata") or {}).get("uid", "") for label in UID_LABELS}):
                found.append(invalid_value("spec.selector", wanted, "`selector` not auto-generated"))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        found: list[Cause] = []
        if after.get("completions") != before.get("completions") and not self._elastic(after, before):
            found += unchanged(after.get("completions"), before.get("completions"), "spec.completions")
        for field in ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
            found += unchanged(after.get(field), before.get(field), f"spec.{field}")
        if not self._template_may_change(old):
            found += unchanged(after.get("template"), before.get("template"), "spec.template")
        else:
            found += unchanged(self._fixed(after), self._fixed(before), "spec.template")
        return found

    @staticmethod
    def _elastic(after: Object, before: Object) -> bool:
        """An indexed job may be scaled if completions and parallelism go together."""
        return (
            before.get("completionMode") == "Indexed"
            and after.get("completions") is not None
            and after.get("completions") == after.get("parallelism")
        )

    @staticmethod
    def _template_may_change(old: Object) -> bool:
        """Where its pods go may be changed while a job is suspended and never started."""
        return bool((old.get("spec") or {}).get("suspend")) and not (old.get("status") or {}).get("startTime")

    @staticmethod
    def _fixed(spec: Object) -> Any:
        made = spec.get("template") or {}
        pod = {
            key: value for key, value in (made.get("spec") or {}).items() if key not in ("nodeSelector", "affinity", "tolerations", "schedulingGates")
        }
        return {"spec": pod}


class CronJobStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        name = (obj.get("metadata") or {}).get("name") or ""
        if len(name) > CRON_JOB_NAME_MAX:
            found.append(invalid_value("metadata.name", name, f"must be no more than {CRON_JOB_NAME_MAX} characters"))
        schedule = spec.get("schedule")
        found += text(schedule, "spec.schedule")
        if isinstance(schedule, str) and schedule:
            if "TZ" in schedule:
                found.append(invalid_value("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
            if why := cron.fault(schedule):
                found.append(invalid_value("spec.schedule", schedule, why))
        found += self._zone(spec.get("timeZone"))
        for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            found += at_least_zero(spec.get(field), f"spec.{field}")
        found += one_of(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace"), needed=True)
        inner = (spec.get("jobTemplate") or {}).get("spec")
        if isinstance(inner, dict):
            found += job_spec(inner, "spec.jobTemplate.spec")
            if inner.get("selector") is not None:
                found.append(invalid_value("spec.jobTemplate.spec.selector", inner["selector"], "`selector` will be auto-generated"))
            if inner.get("manualSelector"):
                found.append(not_supported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"]))
        return found

    def warnings(self, obj: Object) -> list[str]:
        return warnings.of_name(obj) + warnings.of_template(
            ((obj.get("spec") or {}).get("jobTemplate") or {}).get("spec", {}).get("template"), "spec.jobTemplate.spec.template"
        )

    @staticmethod
    def _zone(zone: Any) -> list[Cause]:
        if zone is None:
            return []
        if zone == "":
            return [invalid_value("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
        if zone.lower() == "local":
            return [invalid_value("spec.timeZone", zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")]
        return [] if zone in available_timezones() else [invalid_value("spec.timeZone", zone, f"unknown time zone {zone}")]
