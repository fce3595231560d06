"""The keys: revisions, ranges, transactions, compaction, leases, watch sets. Knows no Raft, no wire, no clock."""
