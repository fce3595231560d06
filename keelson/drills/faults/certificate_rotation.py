"""Every certificate and the authority behind them are replaced while clients go on (certs/rotation.py has the three steps).

Keelson's members read changed files by themselves. etcd's read certificates and keys at each handshake, but whom they trust only when they start:
so after the steps that change that, its members are restarted in turn, as its operators do.
"""

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from certs import rotation
from certs.bundle import Bundle
from certs.profiles import SERVER
from certs.rotation import Step
from keelson.drills.cluster import Cluster, NotReady
from keelson.drills.fault import Fault, Tell
from keelson.launcher.rotating import SETTLE_S, TAKEN_TIMEOUT_S, asking_context, has_taken

POLL_S = 0.1
OVERLAP_S = 1.0
"""For clients to read the files again: those of this drill look twice a second."""


class CertificateRotation(Fault):
    name = "certificate-rotation"
    what = "another authority and other certificates for everybody, step by step"
    needs_tls: ClassVar[bool] = True
    hold_s = 0.0

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        certs = Bundle(cluster.certs)
        for step in Step:
            tell(f"{step.value}: files change")
            await asyncio.to_thread(rotation.take, cluster.certs, step, datetime.now(UTC))
            if not cluster.program.is_keelson and step is not Step.ISSUE:
                await _restart_all(cluster, tell)
            with tempfile.TemporaryDirectory(prefix="keelson-") as scratch:
                context = asking_context(certs, step, Path(scratch))
                deadline_s = time.monotonic() + TAKEN_TIMEOUT_S
                for member in cluster.alive():
                    shown = certs.certificate(SERVER, member.name)
                    while not await asyncio.to_thread(has_taken, member.client_port, shown, context, step):
                        if time.monotonic() > deadline_s:
                            raise NotReady(f"{member} has not taken the changed files within {TAKEN_TIMEOUT_S:g} s:\n{member.log_tail()}")
                        await asyncio.sleep(POLL_S)
            tell(f"{step.value}: taken by all")
            await asyncio.sleep(SETTLE_S + OVERLAP_S)

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        """Nothing is broken."""


async def _restart_all(cluster: Cluster, tell: Tell) -> None:
    for member in cluster.members:
        tell(f"{member.name} restarts to know whom to trust")
        await member.terminate()
        await member.restart()
        await cluster.wait_healthy()
