"""Free ports, by the same locks as the drills take them."""

from keelson.drills.ports import free_port, free_ports

__all__ = ["free_port", "free_ports"]
