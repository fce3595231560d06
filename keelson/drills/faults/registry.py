"""Every fault that can be drilled, in the order in which `all` does them."""

from keelson.drills.fault import Fault
from keelson.drills.faults.leader_kill import LeaderKill
from keelson.drills.faults.leader_pause import LeaderPause

FAULTS: dict[str, type[Fault]] = {kind.name: kind for kind in (LeaderKill, LeaderPause)}
