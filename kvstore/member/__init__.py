"""The whole member, pure: requests, peer messages, ticks and disk reports in; effects out.

member.py      everything put together; driver has the order between Raft and the disk
effects.py     what it can ask of the world; requests, messages: what it is asked by services, and by other members
proposals.py, reads.py    who waits for a write or a linearizable read; gate says whether he may
delivery.py    from applied revisions to watchers
lessor.py, leases.py    lease time, counted by the leader, and questions about it
changes.py, reconfiguration.py    membership: the rules, and their way through the member
first_election.py    what need not be waited for after a start
quota.py, raising.py, compactor.py    how much the state may hold, alarms, automatic compaction
corruption.py, corruption_rounds.py   whether members hold the same: the rules, and their way through the member
"""
