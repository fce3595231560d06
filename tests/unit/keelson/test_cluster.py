"""From the command line's words to members, ports and flags."""

from pathlib import Path

import msgspec
import pytest

from agents.kit.flags import duration_s
from agents.kit.leader import Terms
from keelson.launcher import cluster as clusters
from keelson.launcher import processes, up
from keelson.launcher.cluster import Cluster, ClusterSpec, MemberSpec, Refused
from keelson.launcher.processes import Record
from keelson.launcher.up import Wanted

SPEC = clusters.plan(3, "2379", "2380", insecure=False)


def test_the_ports_of_three_members_are_etcds() -> None:
    assert SPEC.members == (MemberSpec("m1", 2379, 2380), MemberSpec("m2", 22379, 22380), MemberSpec("m3", 32379, 32380))


def test_ports_can_be_listed() -> None:
    assert clusters.spread("4001,4002,4003", 3, "client") == [4001, 4002, 4003]


@pytest.mark.parametrize(
    ("members", "client", "peer", "complaint"),
    [
        (0, "2379", "2380", "1 to 9 members"),
        (10, "2379", "2380", "1 to 9 members"),
        (3, "x", "2380", "neither a number nor a list"),
        (3, "1,2", "2380", "2 client ports for 3 members"),
        (3, "60000", "2380", r"port 90000 is not between 1 and 65535; give one client port per member|port 80000"),
        (1, "0", "2380", "port 0 is not between"),
        (3, "2379", "2379", "overlap"),
        (2, "5000,5000", "2380", "overlap"),
    ],
)
def test_what_cannot_be_is_refused(members: int, client: str, peer: str, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        clusters.plan(members, client, peer, insecure=False)


def test_a_member_gets_etcds_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clusters.COMMAND_VARIABLE, "some-etcd --logger 'a b'")
    command = Cluster(tmp_path, SPEC).command(SPEC.members[1])
    assert command[:4] == ["some-etcd", "--logger", "a b", "--name=m2"]
    assert f"--data-dir={tmp_path}/m2" in command
    assert "--listen-client-urls=https://127.0.0.1:22379" in command
    assert "--initial-cluster=m1=https://127.0.0.1:2380,m2=https://127.0.0.1:22380,m3=https://127.0.0.1:32380" in command
    assert {"--client-cert-auth", "--peer-client-cert-auth", f"--peer-cert-file={tmp_path}/certs/peer-m2.crt"} <= set(command)


def test_without_tls_nothing_speaks_of_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clusters.COMMAND_VARIABLE, "x")
    cluster = Cluster(tmp_path, clusters.plan(1, "2379", "2380", insecure=True))
    words = " ".join(cluster.command(cluster.members[0]))
    assert "https" not in words
    assert "cert" not in words
    assert cluster.client_environment() == {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": "http://127.0.0.1:2379"}


def test_export_lines_survive_odd_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters.shutil, "which", lambda name: f"/usr/bin/{name}")
    lines = Cluster(Path("/tmp/my $HOME's data"), SPEC).export_lines()
    assert lines[2] == """export ETCDCTL_CACERT='/tmp/my $HOME'"'"'s data/certs/ca.crt'"""
    assert len(lines) == 5


def test_a_command_is_named_with_its_folder_where_the_shell_does_not_find_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my bin").mkdir()
    (tmp_path / "my bin/keelson").touch()
    monkeypatch.setattr(clusters.sys, "executable", str(tmp_path / "my bin/python"))
    monkeypatch.setattr(clusters.shutil, "which", lambda name: None)
    assert clusters.env_command() == f"'{tmp_path}/my bin/keelson' env"
    monkeypatch.setattr(clusters.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert clusters.env_command() == "keelson env"


def test_a_cluster_is_kept_and_found_again(tmp_path: Path) -> None:
    assert clusters.load(tmp_path) is None
    cluster = Cluster(tmp_path, ClusterSpec((MemberSpec("m1", 1, 2),), insecure=True, token="t"))
    clusters.save(cluster)
    assert clusters.load(tmp_path) == cluster


def test_a_damaged_record_of_the_cluster_is_told(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"members": 3}')
    with pytest.raises(Refused, match=r"cluster\.json is damaged: .*members"):
        clusters.load(tmp_path)


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(3, "2379", "2380,22380,32380", False)])
def test_a_second_up_goes_on_with_what_is_there(tmp_path: Path, wanted: Wanted) -> None:
    clusters.save(Cluster(tmp_path, SPEC))
    assert up.choose(tmp_path, wanted).spec == SPEC


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        (Wanted(members=5), "3 members, not 5"),
        (Wanted(client_ports="4379"), "client ports 2379, 22379, 32379"),
        (Wanted(peer_ports="4380"), "peer ports 2380, 22380, 32380"),
        (Wanted(insecure=True), "made with TLS"),
    ],
)
def test_another_cluster_in_the_same_folder_is_refused(tmp_path: Path, wanted: Wanted, complaint: str) -> None:
    clusters.save(Cluster(tmp_path, SPEC))
    with pytest.raises(Refused, match=complaint):
        up.choose(tmp_path, wanted)


def test_without_the_program_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clusters.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(clusters.shutil, "which", lambda _: None)
    with pytest.raises(Refused, match="no command kvstore"):
        clusters.member_program({})


def test_the_lease_of_elected_programs_is_chosen_within_what_is_sound(tmp_path: Path) -> None:
    plan = up.plan_control_plane(Wanted(leader_lease_s=3.0))
    programs = {program.name: program.command for program in Cluster(tmp_path, msgspec.structs.replace(SPEC, control_plane=plan)).programs()}
    for name in ("scheduler-1", "controllers-2", "cloud-1"):
        flags = dict(word.split("=", 1) for word in programs[name] if word.startswith("--leader-elect-"))
        terms = Terms(
            lease_s=duration_s(flags["--leader-elect-lease-duration"]),
            deadline_s=duration_s(flags["--leader-elect-renew-deadline"]),
            retry_s=duration_s(flags["--leader-elect-retry-period"]),
        )
        assert (terms.lease_s, terms.deadline_s, terms.retry_s, terms.faults()) == (3, 2, 0.4, [])
    assert up.plan_control_plane(Wanted()).leader_lease_s == Terms().lease_s
    for wrong in (2, 301, 3.5):
        with pytest.raises(Refused, match="3 to 300 whole seconds"):
            up.plan_control_plane(Wanted(leader_lease_s=wrong))
    clusters.save(Cluster(tmp_path, msgspec.structs.replace(SPEC, control_plane=plan)))
    with pytest.raises(Refused, match="leases of 3 s"):
        up.choose(tmp_path, Wanted(leader_lease_s=15))


def test_how_nodes_answer_for_services_is_chosen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up.network, "may_be_made", lambda: True)
    monkeypatch.setattr(up, "check_proxy_mode", lambda plan: None)
    for mode, nodes in (("userspace", None), ("nftables", 2)):
        plan = up.plan_control_plane(Wanted(nodes=nodes, proxy_mode=mode))
        programs = {program.name: program.command for program in Cluster(tmp_path, msgspec.structs.replace(SPEC, control_plane=plan)).programs()}
        assert f"--proxy-mode={mode}" in programs["proxy-node2"]
    assert up.plan_control_plane(Wanted()).proxy_mode == "userspace"
    clusters.save(Cluster(tmp_path, msgspec.structs.replace(SPEC, control_plane=plan)))
    found = up.choose(tmp_path, Wanted()).control_plane
    assert found is not None
    assert found.proxy_mode == "nftables"
    with pytest.raises(Refused, match="nftables proxies"):
        up.choose(tmp_path, Wanted(proxy_mode="userspace"))
    with pytest.raises(Refused, match="no proxy mode 'ipvs'"):
        up.plan_control_plane(Wanted(proxy_mode="ipvs"))
    with pytest.raises(Refused, match="there are none"):
        up.plan_control_plane(Wanted(nodes=0, proxy_mode="nftables"))


def test_without_a_working_nft_its_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up.network, "may_be_made", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="install the package nftables"):
        up.plan_control_plane(Wanted(proxy_mode="nftables"))
    up.plan_control_plane(Wanted(proxy_mode="userspace"))
    (tmp_path / "nft").write_text("#!/bin/sh\necho 'Protocol not supported' >&2\nexit 1\n")
    (tmp_path / "nft").chmod(0o755)
    with pytest.raises(Refused, match=r"does not work here.*Protocol not supported"):
        up.plan_control_plane(Wanted(proxy_mode="nftables"))
    monkeypatch.setattr(up.network, "may_be_made", lambda: False)
    with pytest.raises(Refused, match="need root"):
        up.plan_control_plane(Wanted(proxy_mode="nftables"))


def test_only_deaths_of_this_start_count(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, SPEC)
    (tmp_path / "run").mkdir()

    def died(times: int) -> None:
        processes.write_record(tmp_path, "m1", Record(None, times, "killed by SIGKILL"))

    died(7)
    before = up.restarts(cluster)
    assert before == {"m1": 7}
    for times in (7, 10, 0, 3):  # taken over, or counted anew
        died(times)
        up.check_deaths(cluster, ["m1", "m2"], before)
    for times in (11, 4):
        died(times)
        with pytest.raises(up.NotHealthy, match="m1 dies as often as it is started"):
            up.check_deaths(cluster, ["m1"], before)
