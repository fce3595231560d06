"""The leader's disk is full: nothing more can be written on it. Others take over; with space, the member comes back.

As root each member has a small file system of its own in memory, and the leader's is filled. Otherwise its process is denied every write beyond a
file's first page, which is an error of another name (EFBIG) in the same places.
"""

import asyncio
import contextlib

from keelson.drills import small_disk
from keelson.drills.cluster import Cluster, Member, NotReady
from keelson.drills.fault import Fault, Impossible, Tell
from keelson.drills.small_disk import NoSmallDisk, SmallDisk

DISK_BYTES = 192 << 20
"""etcd allots two files of 64 MB for its log before it says that it serves."""
PAGE_BYTES = 4096
ENDING_S = 2.0


class FullDisk(Fault):
    name = "full-disk"
    what = "no room for another byte on the leader's disk; later there is room again"

    mounts: bool
    """Fill a file system; else limit the process."""

    def __init__(self) -> None:
        self.mounts = small_disk.may_mount()
        self._disks: dict[str, SmallDisk] = {}
        self._full: Member | None = None

    async def prepare(self, cluster: Cluster) -> None:
        if not self.mounts:
            return
        for member in cluster.members:
            try:
                self._disks[member.name] = SmallDisk(member.data, DISK_BYTES)
            except NoSmallDisk as error:
                raise Impossible(str(error)) from None

    async def inject(self, cluster: Cluster, tell: Tell) -> None:
        full = self._full = await cluster.leader()
        assert full.process is not None
        if self.mounts:
            tell(f"{full.name}, the leader: its disk is full")
            await asyncio.to_thread(self._disks[full.name].fill)
        else:
            tell(f"{full.name}, the leader: no file of it may grow (RLIMIT_FSIZE)")
            small_disk.limit_files(full.process.pid, PAGE_BYTES)

    async def heal(self, cluster: Cluster, tell: Tell) -> None:
        full = self._full
        assert full is not None
        assert full.process is not None
        ended = await self._has_ended(full)
        tell(f"there is room again; {full.name} {'had ended, and is started' if ended else 'runs still'}")
        if self.mounts:
            self._disks[full.name].free()
        elif not ended:
            small_disk.unlimit_files(full.process.pid)
        if ended:
            await full.restart()

    async def _has_ended(self, member: Member) -> bool:
        """A member that has met the full disk takes a moment to end."""
        with contextlib.suppress(NotReady):
            await member.wait_exit(ENDING_S)
        return not member.alive()

    async def clean_up(self, cluster: Cluster) -> None:
        for disk in self._disks.values():
            disk.unmount()
