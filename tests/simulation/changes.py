"""Which change of the membership to ask for next: additions as learner or voter, promotions, removals, new addresses, two at once, and what must
be refused: the id of a removed member."""

import random
from collections.abc import Sequence

from msgspec import Struct

from kvstore.ids import MemberId
from kvstore.raft.membership import ChangeKind
from kvstore.raft.messages import ConfState

VOTERS_MAX = 5
LEARNERS_MAX = 2


class Wish(Struct, frozen=True):
    """`member_id` None: somebody new."""

    kind: ChangeKind
    member_id: MemberId | None


def draw(rng: random.Random, conf: ConfState, voters_min: int, gone: Sequence[MemberId] = ()) -> list[Wish]:
    """One change that makes sense for `conf`, or two for the same moment (the second has to be refused or wait)."""
    wishes = [_draw_one(rng, conf, voters_min)]
    if rng.random() < 0.3:
        wishes.append(_draw_one(rng, conf, voters_min + 1))
    if gone and rng.random() < 0.2:
        wishes.append(Wish(rng.choice((ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER, ChangeKind.PROMOTE)), rng.choice(gone)))
    return wishes


def _draw_one(rng: random.Random, conf: ConfState, voters_min: int) -> Wish:
    options = [Wish(ChangeKind.UPDATE, rng.choice(conf.voters + conf.learners))]
    if len(conf.voters) < VOTERS_MAX:
        options.append(Wish(ChangeKind.ADD_VOTER, None))
        options += [Wish(ChangeKind.PROMOTE, learner) for learner in conf.learners] * 2
    if len(conf.learners) < LEARNERS_MAX:
        options += [Wish(ChangeKind.ADD_LEARNER, None)] * 2
    if len(conf.voters) > voters_min:
        options += [Wish(ChangeKind.REMOVE, rng.choice(conf.voters))] * 2
    options += [Wish(ChangeKind.REMOVE, learner) for learner in conf.learners]
    return rng.choice(options)
