"""The rotation of a running cluster: after each step, until every member has taken it.

A member is asked by its deeds: after TRUST it lets in a certificate of the new authority that was made for this alone, after ISSUE it shows its new
certificate. FINISH cannot be seen from outside, since the old authority's key is gone by then; members look at their files twice a second.
"""

import ssl
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from certs import authority, bundle, files, rotation
from certs.bundle import Bundle
from certs.profiles import CLIENT, SERVER
from certs.rotation import Step
from keelson.launcher import cluster as clusters
from keelson.launcher import processes
from keelson.launcher.cluster import HOST, Cluster, Refused

TAKEN_TIMEOUT_S = 15.0
TAKEN_POLL_S = 0.1
SETTLE_S = 1.0
"""After what cannot be seen: twice the time between two looks of a member at its files."""

Tell = Callable[[str], None]


def running_cluster(folder: Path) -> Cluster | None:
    """The cluster whose certificates are in `folder`, if one is there and has TLS."""
    cluster = clusters.load(folder.resolve().parent)
    return cluster if cluster is not None and not cluster.spec.insecure and cluster.certs.folder.resolve() == folder.resolve() else None


def take_all(folder: Path, last: Step, overlap_s: float, tell: Tell) -> None:
    """All steps that are due, up to `last`. Raises Refused if a member does not follow; then the rest can be taken later."""
    cluster = running_cluster(folder)
    while True:
        step = rotation.next_step(folder)
        take(folder, step, cluster, tell)
        if step is last:
            return
        if step is not Step.FINISH:
            tell(f"{overlap_s:g} s for clients to read the files again")
            time.sleep(overlap_s)


def take(folder: Path, step: Step, cluster: Cluster | None, tell: Tell) -> None:
    written = rotation.take(folder, step, datetime.now(UTC))
    tell(f"{step.value}: wrote {', '.join(written)}")
    if cluster is not None:
        await_taken(cluster, step)


def await_taken(cluster: Cluster, step: Step | None) -> None:
    """Until every running member has followed; a step of None is a renewal. Raises Refused."""
    running = [member for member in cluster.members if processes.find(cluster.folder, member.name, cluster.data_flag(member.name))]
    if not running:
        return
    with tempfile.TemporaryDirectory(prefix="keelson-") as scratch:
        context = asking_context(cluster.certs, step, Path(scratch))
        deadline_s = time.monotonic() + TAKEN_TIMEOUT_S
        for member in running:
            certificate = cluster.certs.certificate(SERVER, member.name)
            while not has_taken(member.client_port, certificate, context, step):
                if time.monotonic() > deadline_s:
                    raise Refused(f"{member.name} has not taken the changed files within {TAKEN_TIMEOUT_S:g} s: see {cluster.log(member.name)}")
                time.sleep(TAKEN_POLL_S)
    time.sleep(SETTLE_S)


def asking_context(certs: Bundle, step: Step | None, scratch: Path) -> ssl.SSLContext:
    """For asking whether a step was taken; after TRUST with a certificate by the authority to come, made in the folder `scratch`."""
    context = ssl.create_default_context(cafile=str(certs.ca))
    if step is Step.TRUST:
        new = files.read(certs.folder, bundle.NEXT_CA)
        files.write(scratch, "probe", authority.issue(new, CLIENT, bundle.ADMIN, (), datetime.now(UTC), days=1))
        context.load_cert_chain(files.certificate_path(scratch, "probe"), files.key_path(scratch, "probe"))
    else:
        context.load_cert_chain(certs.certificate(CLIENT, bundle.ADMIN), certs.key(CLIENT, bundle.ADMIN))
    return context


def has_taken(client_port: int, certificate: Path, context: ssl.SSLContext, step: Step | None) -> bool:
    """Whether the member on this port of loopback lets us in and, but for TRUST, shows what `certificate` holds now."""
    import socket

    try:
        with (
            socket.create_connection((HOST, client_port), timeout=2) as wire,
            context.wrap_socket(wire, server_hostname=HOST) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
            # With TLS 1.3 only the first answer tells what became of our certificate.
            secure.sendall(b"GET /version HTTP/1.1\r\nhost: keelson\r\nconnection: close\r\n\r\n")
            if not secure.recv(16):
                return False
    except OSError:
        return False
    return step is Step.TRUST or shown == files.read_certificate(certificate).public_bytes(Encoding.DER)
