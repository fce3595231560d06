"""`keelson down`: afterwards nothing of the cluster runs, whatever state it was in.

First the supervisor is asked, which stops its members in good order. Then whatever members still run (their supervisor may have been killed) are
found by their records, and by their command line if a record is missing, and stopped: first asked, then killed.
"""

import signal
from pathlib import Path

from keelson.launcher import network, nodes, processes, supervisor
from keelson.launcher.cluster import Cluster
from keelson.launcher.processes import Identity
from keelson.launcher.supervise import Policy

GRACE_S = Policy().stop_timeout_s
SUPERVISOR_GRACE_S = 3 * GRACE_S + 5
"""The supervisor needs as long as the slowest of each stage (agents, API, store), and a little."""


def stop(cluster: Cluster) -> list[str]:
    """Stop everything; the names of what was running. Harmless if nothing is."""
    was_running = list(_running(cluster))
    if identity := processes.find(cluster.folder, supervisor.NAME, supervisor.MODULE, str(cluster.folder)):
        was_running.append(supervisor.NAME)
        _stop([identity], SUPERVISOR_GRACE_S)
    _stop(list(_running(cluster).values()), GRACE_S)
    for name in (*(program.name for program in cluster.programs()), supervisor.NAME):
        processes.remove_record(cluster.folder, name)
    if cluster.control_plane is not None and network.may_be_made():
        nodes.clear(cluster.folder, cluster.control_plane)
    return was_running


def forget(folder: Path) -> None:
    """For a folder without a cluster: a start that was killed early has perhaps claimed a number, and nothing else."""
    if network.may_be_made():
        network.remove(network.mark_of(folder))


def runs(cluster: Cluster) -> bool:
    """Whether any program of it runs, with or without a supervisor."""
    return bool(_running(cluster))


def _running(cluster: Cluster) -> dict[str, Identity]:
    found = {program.name: processes.find(cluster.folder, program.name, program.mark) for program in cluster.programs()}
    return {name: identity for name, identity in found.items() if identity is not None}


def _stop(identities: list[Identity], grace_s: float) -> None:
    """Ask, wait, kill. Returns when all are gone."""
    for identity in identities:
        processes.ask_to_stop(identity)
    for identity in processes.wait_gone(identities, grace_s):
        processes.send(identity, signal.SIGKILL)
    survivors = processes.wait_gone(identities, grace_s)
    assert not survivors, f"processes survived SIGKILL: {survivors}"
