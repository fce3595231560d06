"""Environments, downward API, files of volumes, what containers are told, and what a node refuses."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from agents.kubelet import admission, payload, pods, recipe, volumes
from agents.kubelet.environment import ConfigError, Sources, environment, expand, field_value, formatted, resource_value
from agents.kubelet.references import named_by
from agents.kubelet.runtime.base import Image, PortMapping
from apiserver.machinery.objects import Object
from tests.support.pods import pod

MAPS = {"cm": {"data": {"key": "value", "1x": "bad name", "other": "o"}, "binaryData": {"raw": base64.b64encode(b"\0\1").decode()}}}
SECRETS = {"sec": {"data": {"pw": base64.b64encode(b"hunter2").decode()}}}
SERVICES: tuple[Object, ...] = (
    {"metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}},
    {"metadata": {"name": "my-db", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 53, "protocol": "UDP"}]}},
    {"metadata": {"name": "headless", "namespace": "default"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
)
SOURCES = Sources(
    lambda namespace, name: MAPS.get(name),
    lambda namespace, name: SECRETS.get(name),
    SERVICES,
    {"cpu": "2", "memory": "1Gi"},
    "node1",
    "10.1.0.1",
    "10.0.0.2",
)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)b", "1b"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("$A", "$A"), ("$(A)$(A)", "11"), ("a$", "a$"), ("$$$(A)", "$1"), ("$(A", "$(A")],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def made(container: Object, **spec: Any) -> dict[str, str]:
    return environment(pod({"name": "a", **container}, enableServiceLinks=False, **spec), {"name": "a", **container}, SOURCES)


def test_values_from_everywhere() -> None:
    container = {
        "resources": {"limits": {"cpu": "1500m"}},
        "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "P_"}, {"secretRef": {"name": "sec"}}],
        "env": [
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "key"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
            {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "E", "value": "$(K)-$(S)-$(UNKNOWN)"},
            {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
        ],
    }
    found = made(container)
    assert {name: found[name] for name in ("K", "S", "F", "L", "R", "M", "E", "P_key", "pw")} == {
        "K": "value",
        "S": "hunter2",
        "F": "10.0.0.2",
        "L": "web",
        "R": "2",
        "M": "1024",
        "E": "value-hunter2-$(UNKNOWN)",
        "P_key": "value",
        "pw": "hunter2",
    }
    assert "O" not in found and "1x" not in found


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "cm", "key": "k"}}, "couldn't find key k in ConfigMap default/cm"),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.nothing"}}, "unsupported fieldPath: spec.nothing"),
    ],
)
def test_what_is_missing_is_said(source: Object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        made({"env": [{"name": "X", "valueFrom": source}]})


def test_service_variables() -> None:
    found = environment(pod({"name": "a"}), {"name": "a"}, SOURCES)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert found["MY_DB_PORT_53_UDP_PROTO"] == "udp" and found["MY_DB_PORT"] == "udp://10.96.0.9:53"
    assert not any(name.startswith("HEADLESS") for name in found)
    assert "MY_DB_PORT" not in made({}) and "KUBERNETES_PORT" in made({})


def test_downward_formats() -> None:
    assert formatted({"b": 'quo"te', "a": "1"}) == 'a="1"\nb="quo\\"te"'
    assert field_value(pod(), "metadata.uid", SOURCES) == "u1"
    assert resource_value(pod(), {"name": "main"}, {"resource": "limits.cpu", "divisor": "1m"}, {"cpu": "2"}) == "2000"


def test_what_a_pod_names_of_the_cluster() -> None:
    wanted = pod({"name": "a", "envFrom": [{"configMapRef": {"name": "m1"}}], "env": [{"name": "x", "valueFrom": {"secretKeyRef": {"name": "s1"}}}]})
    wanted["spec"]["volumes"] = [
        {"name": "v", "secret": {"secretName": "s2"}},
        {"name": "p", "projected": {"sources": [{"configMap": {"name": "m2"}}]}},
    ]
    assert {(plural, name) for plural, _, name in named_by(wanted)} == {
        ("configmaps", "m1"),
        ("secrets", "s1"),
        ("secrets", "s2"),
        ("configmaps", "m2"),
    }


def test_files_of_a_volume_change_at_one_stroke(tmp_path: Path) -> None:
    files = payload.config_map_files(pod(), {}, "cm", SOURCES, 0o644)
    assert payload.write(tmp_path, files) and not payload.write(tmp_path, files)
    assert (tmp_path / "key").read_text() == "value" and (tmp_path / "raw").read_bytes() == b"\0\1"
    before = (tmp_path / "..data").readlink()
    assert payload.write(tmp_path, {"key": payload.FileOf(b"new", 0o600), "deep/er": payload.FileOf(b"x", 0o644)})
    assert (tmp_path / "key").read_text() == "new" and (tmp_path / "deep/er").read_text() == "x" and not (tmp_path / "raw").exists()
    assert not (tmp_path / before).exists() and (tmp_path / "..data" / "key").stat().st_mode & 0o777 == 0o600


def test_items_of_a_volume() -> None:
    source = {"items": [{"key": "key", "path": "sub/file", "mode": 0o400}]}
    assert payload.config_map_files(pod(), source, "cm", SOURCES, 0o644) == {"sub/file": payload.FileOf(b"value", 0o400)}
    with pytest.raises(ConfigError, match="non-existent config key: gone"):
        payload.config_map_files(pod(), {"items": [{"key": "gone", "path": "x"}]}, "cm", SOURCES, 0o644)
    with pytest.raises(ConfigError, match="must be relative"):
        payload.config_map_files(pod(), {"items": [{"key": "key", "path": "../x"}]}, "cm", SOURCES, 0o644)


def test_resolvers() -> None:
    dns = recipe.Dns(("10.96.0.10",), "cluster.local", ("1.1.1.1",), ("corp",), ("timeout:1",))
    servers, searches, options = recipe.resolver(pod(), dns)
    assert (servers, options) == (("10.96.0.10",), ("ndots:5",))
    assert searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp")
    assert recipe.resolver(pod(hostNetwork=True), dns)[0] == ("1.1.1.1",)
    own = {"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}
    assert recipe.resolver(pod(dnsPolicy="None", dnsConfig=own), dns) == (("9.9.9.9",), (), ("ndots:2",))
    assert recipe.resolver(pod(dnsConfig=own), dns)[2] == ("ndots:2",)


IMAGE = Image("sha256:1", ("i",), (), 1, 0)
PROFILES = recipe.Profiles("/var/lib/kubelet/seccomp")


def test_security() -> None:
    container = {"name": "a", "securityContext": {"runAsUser": 5, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "privileged": False}}
    found = recipe.security(pod(container, securityContext={"runAsGroup": 7, "fsGroup": 9, "supplementalGroups": [8]}), container, IMAGE, PROFILES)
    assert (found.user, found.groups, found.added, found.dropped) == ("5:7", (8, 9), ("NET_ADMIN",), ("ALL",))


@pytest.mark.parametrize(
    ("of_pod", "own", "by_default", "profile"),
    [
        (None, None, False, ""),
        (None, None, True, "runtime/default"),
        ({"type": "Unconfined"}, None, True, ""),
        ({"type": "RuntimeDefault"}, None, False, "runtime/default"),
        ({"type": "RuntimeDefault"}, {"type": "Unconfined"}, False, ""),
        ({"type": "Unconfined"}, {"type": "Localhost", "localhostProfile": "mine/a.json"}, False, "localhost//var/lib/kubelet/seccomp/mine/a.json"),
    ],
)
def test_seccomp_profile(of_pod: Object | None, own: Object | None, by_default: bool, profile: str) -> None:
    container = {"name": "a", "securityContext": {"seccompProfile": own}}
    whole = pod(container, securityContext={"seccompProfile": of_pod})
    assert recipe.security(whole, container, IMAGE, recipe.Profiles(PROFILES.folder, by_default)).seccomp == profile


@pytest.mark.parametrize("name", [None, "", "/etc/passwd", "../../etc/passwd", "a/../b"])
def test_a_profile_of_the_node_has_a_name_below_its_folder(name: str | None) -> None:
    container = {"name": "a", "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": name}}}
    with pytest.raises(ConfigError, match="localhostProfile"):
        recipe.security(pod(container), container, IMAGE, PROFILES)


@pytest.mark.parametrize(
    ("user", "image", "text"),
    [(0, IMAGE, "breaks non-root policy"), (None, IMAGE, "image will run as root"), (None, Image("x", (), (), 1, None, "bob"), "non-numeric user")],
)
def test_run_as_non_root(user: int | None, image: Image, text: str) -> None:
    container = {"name": "a", "securityContext": {"runAsNonRoot": True, **({} if user is None else {"runAsUser": user})}}
    with pytest.raises(ConfigError, match=text):
        recipe.security(pod(container), container, image, PROFILES)


def test_quality_of_service_and_who_is_killed_first() -> None:
    limited = {"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    asking = {"name": "a", "resources": {"requests": {"memory": "512Mi"}}}
    assert [pods.qos_class(pod(each)) for each in (limited, asking, {"name": "a"})] == ["Guaranteed", "Burstable", "BestEffort"]
    gib = 1 << 30
    assert recipe.oom_score(pod(limited), gib, gib) == -997
    assert recipe.oom_score(pod(asking), gib // 2, gib) == 500
    assert recipe.oom_score(pod({"name": "a"}), 0, gib) == 1000


def test_requests_count_sidecars_and_the_largest_moment() -> None:
    def asks(name: str, cpu: str, **more: str) -> Object:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    wanted = pod(asks("a", "100m"), inits=(asks("s", "50m", restartPolicy="Always"), asks("i", "500m")))
    assert pods.requested(wanted, "cpu").milli_value == 550


NODE = {"metadata": {"name": "node1", "labels": {"disk": "ssd"}}}


def test_a_node_refuses_what_does_not_fit_or_belong() -> None:
    big = pod({"name": "a", "resources": {"requests": {"cpu": "3"}}})
    small = pod({"name": "a", "resources": {"requests": {"cpu": "100m"}}})
    room = {"cpu": "2", "pods": "2"}
    assert admission.refusal(small, [], NODE, room) is None
    reason, text = admission.refusal(big, [small], NODE, room) or ("", "")
    assert reason == "OutOfcpu"
    assert text == "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 100, capacity: 2000"
    assert (admission.refusal(small, [small, small], NODE, room) or ("",))[0] == "OutOfpods"
    assert (admission.refusal(pod(nodeSelector={"disk": "hdd"}), [], NODE, room) or ("",))[0] == "NodeAffinity"
    term = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    assert (admission.refusal(pod(affinity=affinity), [], NODE, room) or ("",))[0] == "NodeAffinity"
    ported = pod({"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]})
    assert (admission.refusal(ported, [ported], NODE, room) or ("",))[0] == "NodePorts"


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("kernel.core_pattern", {}, "not allowlisted"),
        ("net/../vm/swappiness", {}, "not allowlisted"),
        ("net.core.somaxconn", {}, "not allowlisted"),
        ("net.ipv4.tcp_syncookies", {"hostNetwork": True}, "not allowed with host net enabled"),
        ("kernel.shm_rmid_forced", {"hostIPC": True}, "not allowed with host ipc enabled"),
    ],
)
def test_a_pod_sets_nothing_of_the_machine(name: str, more: Object, why: str) -> None:
    asking = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **more)
    assert admission.forbidden_sysctl(asking) == ("SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" {why}')


def test_a_pod_sets_what_is_its_own() -> None:
    own = [{"name": name, "value": "1"} for name in ("net.ipv4.ip_unprivileged_port_start", "kernel/shm_rmid_forced")]
    assert admission.forbidden_sysctl(pod(securityContext={"sysctls": own})) is None
    assert admission.forbidden_sysctl(pod()) is None


def test_the_hosts_file_in_the_nodes_network_is_a_copy_with_additions() -> None:
    aliased = pod(hostNetwork=True, hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a", "b"]}])
    text = volumes.node_hosts_file(aliased, "127.0.0.1\tlocalhost\n")
    assert text.splitlines()[1:] == ["127.0.0.1\tlocalhost", "", "# Entries added by HostAliases.", "10.0.0.1\ta\tb"]


def mounted(place: Path, subpath: str) -> str:
    volume = {"name": "v", "emptyDir": {}}
    container = {"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": subpath}]}
    (found,) = volumes.mounts_of(pod(container, volumes=[volume]), container, {"v": place}, {})
    return found.subpath


def test_a_subpath_is_made_in_its_volume_and_nowhere_else(tmp_path: Path) -> None:
    place, outside = tmp_path / "volume", tmp_path / "outside"
    place.mkdir()
    outside.mkdir()
    (place / "trap").symlink_to(outside)
    (place / "file").write_text("")
    assert mounted(place, "a/b") == "a/b"
    assert stat.S_IMODE((place / "a" / "b").stat().st_mode) == 0o755
    assert mounted(place, "file") == "file"
    assert mounted(place, "trap/c") == "trap/c", "what it names is for the container to find, inside of the volume"
    assert list(outside.iterdir()) == []
    for wrong in ("../outside", "/etc", "a/../../outside"):
        with pytest.raises(ConfigError, match="must not be absolute"):
            mounted(place, wrong)
    with pytest.raises(ConfigError, match="failed to create subPath directory 'file/x': Not a directory"):
        mounted(place, "file/x")


def test_a_profile_that_nobody_would_enforce_is_refused() -> None:
    profile = {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}
    refused = ("AppArmor", "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host")
    assert admission.unenforceable(pod({"name": "a", **profile})) == refused
    assert admission.unenforceable(pod(**profile)) == refused
    assert admission.unenforceable(pod(securityContext={"appArmorProfile": {"type": "Unconfined"}})) is None


def test_ports_of_the_node_are_asked_for_by_containers_and_sidecars_alone():
    def container(name, **port):
        return {"name": name, "image": "i", "ports": [{"containerPort": 80, **port}]}

    asked = pod(
        containers=[container("a", hostPort=8080), container("b", containerPort=53, hostPort=53, protocol="UDP", hostIP="10.0.0.1"), container("c")],
        initContainers=[container("once", hostPort=1), container("sidecar", hostPort=9090)],
    )
    asked["spec"]["initContainers"][1]["restartPolicy"] = "Always"
    mappings = (PortMapping(8080, 80), PortMapping(53, 53, "UDP", "10.0.0.1"), PortMapping(9090, 80))
    assert recipe.port_mappings(asked) == mappings
    assert recipe.sandbox_config(asked, 0, "", recipe.Dns()).ports == mappings
    asked["spec"]["hostNetwork"] = True
    assert recipe.sandbox_config(asked, 0, "", recipe.Dns()).ports == ()
