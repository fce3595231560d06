"""Take out of a client's output what is one cluster's own: ids, ports, terms, sizes, durations, versions. The rest stays."""

import json
import re
from typing import Any

from tests.support.members import Cluster

OWN_NUMBERS = {
    "cluster_id": "CLUSTER",
    "member_id": "MEMBER",
    "memberID": "MEMBER",
    "raft_term": "TERM",
    "raftTerm": "TERM",
    "raftIndex": "INDEX",
    "raftAppliedIndex": "INDEX",
    "leader": "MEMBER",
    "dbSize": "SIZE",
    "dbSizeInUse": "SIZE",
    "hash": "HASH",
    "version": "VERSION",
    "took": "TOOK",
}
"""JSON fields whose values are one server's own, by name; `version` only where it is text (a key's version is a number)."""

NEW_IN_3_6 = ("storageVersion", "dbSizeQuota", "downgradeInfo", "hash_revision")
"""Fields that older clients do not know and newer servers send: gone before comparing."""


LEASE_MIN = 1 << 40
"""Ids that a server chose are greater; those that a test chose, smaller."""


class Masking:
    """For the outputs that came from `cluster`."""

    def __init__(self, cluster: Cluster) -> None:
        listed = cluster.leader().http.post("/v3/cluster/member/list", {}).json()
        self.ids: dict[int, str] = {int(listed["header"]["cluster_id"]): "CLUSTER"}
        names = {member.name: member for member in cluster}
        for member in listed["members"]:
            self.ids[int(member["ID"])] = f"MEMBER-{member['name']}"
        self._ports = {str(port): f"PORT-{name}" for name, member in names.items() for port in (member.client_port, member.peer_port)}
        self._folder = str(cluster.folder)

    def text(self, output: str) -> str:
        for number, name in self.ids.items():
            padding = " " * (16 - len(f"{number:x}"))  # some ids etcdctl prints as %16x: one in sixteen comes with one space more before it
            output = re.sub(rf"\b{number}\b|(?:(?<=\s){padding}|\b0*)\b{number:x}\b|\b0+{number:x}\b", name, output)
        for port, name in self._ports.items():
            output = re.sub(rf"\b{port}\b", name, output)
        output = output.replace(self._folder, "FOLDER")
        output = re.sub(r"\b\d+(\.\d+)?(ns|µs|us|ms|s)\b(?!\))", "DURATION", output)
        output = re.sub(r"\b\d+(\.\d+)? ?(B|kB|KB|MB|GB)\b", "SIZE", output)
        output = re.sub(r"\b3\.\d+\.\d+\b", "VERSION", output)
        output = re.sub(r'("(?:RaftTerm|DBSize|RaftIndex|RaftAppliedIndex|DBSizeInUse|Hash)" : )\d+', r"\1NUMBER", output)
        output = re.sub(r'("(?:ID|Lease)" : )\d{13,}', r"\1LEASE", output)
        return re.sub(r'("(?:MemberID|Leader)" : )\S+', r"\1MEMBER", output)  # whichever of the three was asked, or leads

    def parsed(self, output: str) -> Any:
        """The JSON documents in `output`, one a line."""
        return [self._value("", json.loads(line)) for line in output.splitlines() if line.strip()]

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._value(key, inner) for key, inner in value.items() if key not in NEW_IN_3_6}
        if isinstance(value, list):
            return [self._value(name, inner) for inner in value]
        if name == "version" and isinstance(value, int):
            return value
        if name in OWN_NUMBERS:
            return OWN_NUMBERS[name]
        if isinstance(value, int) and value in self.ids:
            return self.ids[value]
        if name in ("ID", "id", "lease") and isinstance(value, int) and value > LEASE_MIN:
            return "LEASE"
        return self.text(value) if isinstance(value, str) else value


def unnumbered_leases(output: str) -> str:
    """Lease ids that a server chose, in the order they appear."""
    seen: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return seen.setdefault(match.group().lstrip("0"), f"LEASE-{len(seen) + 1}")

    return re.sub(r"\b[0-9a-f]{12,16}\b", name, output)
