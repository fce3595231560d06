"""Tell systemd (or whoever set NOTIFY_SOCKET) that this process serves: `Type=notify` in the unit, as etcd's units have it."""

import logging
import os
import socket

from keelson.cogs.logs import fields

log = logging.getLogger("keelson")


def notify_init_daemon(state: str = "READY=1") -> bool:
    """Whether it was told. Does nothing without NOTIFY_SOCKET; a failure is logged, and is no reason not to serve."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    log.info("notifying init daemon")
    name = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as daemon:
            daemon.sendto(state.encode(), name)
    except OSError as error:
        log.error("failed to notify init daemon", extra=fields(error=str(error)))
        return False
    log.info("successfully notified init daemon")
    return True
