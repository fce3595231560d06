"""The first election after a start, without waiting for a leader where there is none to wait for.

* A cluster's only voter campaigns at once.
* In a cluster that never had a leader, which its members know by their term, the voter with the lowest id campaigns as soon as it and enough
  others for a majority hear each other. If that comes to nothing there is the time-out, as always.
* Everybody else counts most of the time-out as waited for when it can talk to two others: a leader, if there is one, is heard within the ticks
  that are left. That is etcd's rule (EtcdServer.adjustTicks, --initial-election-tick-advance), which it follows in the cases before, too.

None of it is a question of safety: votes decide an election, and this only moves the moment at which one asks for them.
"""

from kvstore.ids import NO_TERM, MemberId
from kvstore.raft.core import Raft
from kvstore.raft.quorum import majority

PEERS_MIN = 2


class FirstElection:
    """What is known of connections until it has done its part; nothing at all if not `wanted`."""

    def __init__(self, raft: Raft, *, wanted: bool) -> None:
        self._raft = raft
        self._over = not wanted
        self._nobody_led = raft.term == NO_TERM
        self._reached: set[MemberId] = set()
        self._heard: set[MemberId] = set()
        if wanted and raft.conf.voters == (raft.id,):
            self._over = True
            raft.campaign()

    def reached(self, peer: MemberId) -> None:
        """What we say gets there."""
        if not self._over:
            self._reached.add(peer)
            self._look()

    def heard(self, peer: MemberId) -> None:
        """What it says gets here."""
        if not self._over:
            self._heard.add(peer)
            self._look()

    def lost(self, peer: MemberId) -> None:
        self._reached.discard(peer)

    def _look(self) -> None:
        raft = self._raft
        voters = raft.conf.voters
        if self._nobody_led and voters and raft.id == min(voters):
            if len(self._reached & self._heard & set(voters)) + 1 >= majority(voters):
                self._over = True
                raft.campaign()
        elif len(self._reached) >= PEERS_MIN:
            self._over = True
            raft.count_as_waited(raft.config.election_ticks - len(self._reached))
