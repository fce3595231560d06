"""Every fault that can be drilled, in the order in which `all` does them."""

from keelson.drills.fault import Fault
from keelson.drills.faults.certificate_rotation import CertificateRotation
from keelson.drills.faults.clock_jump import ClockJump
from keelson.drills.faults.follower_kill import FollowerKill
from keelson.drills.faults.full_disk import FullDisk
from keelson.drills.faults.leader_kill import LeaderKill
from keelson.drills.faults.leader_pause import LeaderPause
from keelson.drills.faults.majority_loss import MajorityLoss
from keelson.drills.faults.member_replacement import MemberReplacement
from keelson.drills.faults.partition import AsymmetricPartition, DeafFollower, Partition
from keelson.drills.faults.rolling_restart import RollingRestart
from keelson.drills.faults.slow_disk import SlowDisk

KINDS: tuple[type[Fault], ...] = (
    LeaderKill,
    LeaderPause,
    FollowerKill,
    Partition,
    AsymmetricPartition,
    DeafFollower,
    RollingRestart,
    CertificateRotation,
    MemberReplacement,
    MajorityLoss,
    FullDisk,
    SlowDisk,
    ClockJump,
)

FAULTS: dict[str, type[Fault]] = {kind.name: kind for kind in KINDS}
