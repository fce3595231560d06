"""Consensus: our own Raft core, sans-IO and deterministic. Bytes of commands are opaque to it.

Inputs (methods of `core.Raft`): `tick()`, `step(message)` from peers, `propose(datas)`, `propose_change(change)`,
`read_index(contexts)`, `transfer_leadership(to)`, `persisted(mark)`, `applied(index)`, `compacted(index)`, and the reports of the world
(`report_unreachable`, `snapshot_ready`, `snapshot_installed`, `snapshot_refused`). Output: one `Ready` at a time, from `ready()`.

The order that the driver owes for each Ready, and nothing more:

1. `messages` go out at once, before and while the disk works (a leader's appends are among them: its own disk writes in parallel,
   and it counts itself only after `persisted`).
2. `hard_state` and `entries` go to disk in one synced transaction, Readys in their order (several may be merged into one write: the
   last hard state wins, entries are written one list after the other; a list whose first index is at or below what is stored
   replaces everything from that index on).
3. `messages_after_persist` go out only when 2 of this Ready is synced: votes, append acknowledgements. Then `persisted(ready.mark)`.
4. `committed` is applied in order, each exactly once; then `applied(last index)`. The core hands out only entries which this member
   has on disk.
5. A read in `reads_ready` may be answered as soon as the state has applied its index; `reads_failed` are answered with an error.
6. `snapshot_chunks` are stored in order; on the one with `done`, the driver checks and installs the whole, and calls
   `snapshot_installed` or `snapshot_refused`.

Sources: D. Ongaro, J. Ousterhout, In Search of an Understandable Consensus Algorithm (the paper), and Ongaro's dissertation
(pre-vote 9.6, leadership transfer 3.10, ReadIndex 6.4, single-server membership changes 4.1 and its correction of 2015).
"""
