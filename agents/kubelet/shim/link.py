"""The pod's side of its network interface, set by the shim, which lives in the pod's network namespace: by ioctl, because that needs no library."""

import fcntl
import socket
import struct

SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCADDRT = 0x8916, 0x891C, 0x8913, 0x8914, 0x890B
IFF_UP, RTF_UP, RTF_GATEWAY = 1, 1, 2


def configure(name: str, address: str, prefix: int, gateway: str) -> None:
    """Address and default route of `name`, which is brought up. Raises OSError."""
    mask = socket.inet_ntoa(struct.pack(">I", (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s", name.encode(), _address(address)))
        fcntl.ioctl(control, SIOCSIFNETMASK, struct.pack("16s16s", name.encode(), _address(mask)))
        bring_up(name, control)
        # struct rtentry: rt_pad1, rt_dst, rt_gateway, rt_genmask, rt_flags, and what stays zero
        flags = RTF_UP | RTF_GATEWAY
        route = struct.pack("L16s16s16sH", 0, _address("0.0.0.0"), _address(gateway), _address("0.0.0.0"), flags)
        fcntl.ioctl(control, SIOCADDRT, route.ljust(120, b"\0"))


def bring_up(name: str, control: socket.socket) -> None:
    answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH14x", name.encode(), 0))
    flags = struct.unpack("16sH14x", answer)[1]
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | IFF_UP))


def _address(text: str) -> bytes:
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))
