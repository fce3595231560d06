"""Disk: LMDB behind a small protocol (`engine`), its tables (`tables`), and the Raft log on one (`raftlog`).

A member has two environments: `log` (each commit synced; written by the disk thread) and `state` (one long write transaction that many
applied entries share, committed with sync now and then; the applied index is in the same transaction).
"""
