"""The replicated state: one committed command in, one result out, in one write transaction together with the applied index.

`machine.Machine` is all that `member` knows of the state:

    machine = Machine(engine)                      # opens the tables, reads the meta rows; cheap at any number of keys
    machine.begin(write_txn)                       # a write transaction to work in, until the next commit
    outcome = machine.apply(index, term, command, user, auth_revision)
                                                   # -> a result of kvstore.model, or a StoreError *instance* (deterministic); never raises one
    events = machine.take_events()                 # list[RevisionEvents] since last asked, in revision order, for the watch hub
    machine.seal()                                 # writes applied index, revision, ... into the transaction; then the caller commits
    machine.range(Range) -> RangeResult            # raises StoreError; reads what was applied, committed or not
    machine.guard                                  # may this caller do that? `apply` asks it for commands, the member for reads

What needs no state is checked before proposing, by `kvstore.checks`.

Attributes: applied_index, applied_term, revision, compacted_revision, members (dict MemberId -> Member), alarms, leases (id -> granted TTL),
accounts (`auth.store`).

    machine.py     the state and its requests about keys, leases and alarms
    members.py     its requests about members
    accounts.py    its requests about users and roles: which function of `auth` does which
    guard.py       what each command and each read needs of its caller
    commands.py    commands as bytes in the log

Nothing here knows Raft, the wire, a clock or chance: what differs between members never reaches `apply`.
"""
