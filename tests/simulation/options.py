"""What kind of world a seed makes. Swarm testing: each fault is off in about half of the worlds, and its strength is drawn, because faults
that are always on hide each other (A. Groce et al., Swarm Testing)."""

import random

from msgspec import Struct


class Options(Struct):
    """Intervals are means in virtual seconds, 0 switches off. Chances are per message or per occasion."""

    members: int = 3
    hurt_s: float = 40.0
    """How long the adversary works."""

    # The network. A latency is drawn for each message; without `fifo` that also reorders.
    latency_s: float = 0.005
    jitter_s: float = 0.005
    loss: float = 0.0
    duplicate: float = 0.0
    fifo: bool = False
    bytes_per_s: float = 1e9
    partition_every_s: float = 0.0
    partition_lasts_s: float = 4.0
    one_way: float = 0.0
    report_unreachable: bool = True

    # The members' processes and disks.
    crash_every_s: float = 0.0
    crash_all: float = 0.0
    down_s: float = 2.0
    pause_every_s: float = 0.0
    pause_s: float = 2.0
    disk_s: float = 0.002
    slow_disk_every_s: float = 0.0
    slow_disk_s: float = 1.0
    disk_full_every_s: float = 0.0
    disk_full_s: float = 2.0
    disk_full_all: float = 0.0
    skew: float = 0.0

    apply_lag_s: float = 0.0
    """How long a committed entry may wait to be applied (bare flavour; whole members lag by their state's disk)."""

    # The cluster's own operations.
    transfer_every_s: float = 0.0
    change_every_s: float = 0.0
    strict_changes: bool = False
    """--strict-reconfig-check"""
    hang_up: bool = False
    """Members hang up on one that was removed, and tell it; else its messages go on arriving, as on connections from before."""

    # Limits of the members.
    election_ticks: int = 10
    pre_vote: bool = True
    first_election_early: bool = False
    append_bytes_max: int = 1 << 20
    inflight_appends_max: int = 256
    inflight_bytes_max: int = 8 << 20
    tail_bytes_max: int = 8 << 20
    committed_bytes_max: int = 4 << 20
    uncommitted_bytes_max: int = 64 << 20
    snapshot_chunk_bytes: int = 256 << 10
    snapshot_entries: int = 10_000
    catchup_entries: int = 5_000
    commit_entries: int = 4096
    journal_bytes: int = 64 << 10

    # The clients.
    clients: int = 4
    keys: int = 4
    think_s: float = 0.1
    client_timeout_s: float = 3.0
    value_bytes: int = 20
    leases: bool = False
    watchers: int = 0
    compact_every_s: float = 0.0


def draw(rng: random.Random) -> Options:
    """The options of one seed."""

    def sometimes(chance: float, low: float, high: float) -> float:
        """A value between `low` and `high` (more often near `low`), or 0."""
        value = low * (high / low) ** rng.random()
        return value if rng.random() < chance else 0.0

    def whole(low: int, high: int, chance: float, otherwise: int) -> int:
        value = round(low * (high / low) ** rng.random())
        return value if rng.random() < chance else otherwise

    fifo = rng.random() < 0.5
    return Options(
        members=rng.choice((1, 2, 3, 3, 3, 3, 3, 4, 5, 5)),
        latency_s=rng.choice((0.0005, 0.005, 0.03)),
        jitter_s=rng.choice((0.0, 0.001, 0.01, 0.1, 0.4)),
        loss=sometimes(0.5, 0.005, 0.25),
        duplicate=sometimes(0.5, 0.01, 0.2),
        fifo=fifo,
        bytes_per_s=rng.choice((1e9, 1e7, 1e6)),
        partition_every_s=sometimes(0.6, 3, 20),
        partition_lasts_s=rng.choice((0.5, 3.0, 10.0)),
        one_way=rng.choice((0.0, 0.3, 1.0)),
        report_unreachable=rng.random() < 0.7,
        crash_every_s=sometimes(0.7, 1.5, 15),
        crash_all=rng.choice((0.0, 0.0, 0.2, 0.6)),
        down_s=rng.choice((0.2, 2.0, 10.0)),
        pause_every_s=sometimes(0.3, 3, 20),
        pause_s=rng.choice((0.5, 3.0, 8.0)),
        disk_s=rng.choice((0.0002, 0.002, 0.02, 0.1)),
        slow_disk_every_s=sometimes(0.3, 3, 20),
        slow_disk_s=rng.choice((0.3, 2.0, 6.0)),
        skew=sometimes(0.5, 0.001, 0.15),
        apply_lag_s=sometimes(0.4, 0.01, 3),
        transfer_every_s=sometimes(0.4, 2, 15),
        change_every_s=sometimes(0.5, 1, 15),
        election_ticks=rng.choice((5, 10, 10, 20)),
        pre_vote=rng.random() < 0.85,
        append_bytes_max=whole(1, 4096, 0.4, 1 << 17),
        # Without order a long pipeline is refused piece by piece and sent again for each refusal: not wrong, but a storm (transports keep order).
        inflight_appends_max=whole(1, 20, 0.4, 256) if fifo else whole(1, 8, 1.0, 8),
        inflight_bytes_max=whole(100, 5000, 0.3, 8 << 20),
        tail_bytes_max=whole(1, 4000, 0.5, 8 << 20),
        committed_bytes_max=whole(1, 1000, 0.3, 4 << 20),
        uncommitted_bytes_max=whole(400, 20000, 0.2, 64 << 20),
        snapshot_chunk_bytes=whole(500, 20000, 0.5, 256 << 10),
        snapshot_entries=whole(5, 200, 0.6, 10_000),
        catchup_entries=whole(1, 50, 0.8, 5_000),
        commit_entries=whole(1, 100, 0.6, 4096),
        clients=rng.choice((1, 3, 5, 8)),
        keys=rng.choice((1, 2, 5)),
        think_s=rng.choice((0.02, 0.1, 0.4)),
        client_timeout_s=rng.choice((1.0, 3.0, 8.0)),
        value_bytes=rng.choice((10, 30, 200)),
        leases=rng.random() < 0.5,
        watchers=rng.choice((0, 1, 3, 6)),
        compact_every_s=sometimes(0.4, 2, 20),
        strict_changes=rng.random() < 0.3,
        hang_up=rng.random() < 0.5,
        disk_full_every_s=sometimes(0.3, 3, 20),
        disk_full_s=rng.choice((0.3, 2.0, 8.0)),
        disk_full_all=rng.choice((0.0, 0.2, 0.6)),
        first_election_early=rng.random() < 0.7,
        # The smallest has room for no record.
        journal_bytes=rng.choice((512, 2 << 10, 8 << 10, 64 << 10)),
    )
