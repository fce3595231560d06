"""Compile the hot pure modules in place with mypyc: `make compile` (docs/decisions/0008-mypyc.md). Nothing needs it.

The same source either way, and whichever of a module's two forms is there is the one that is imported; `make pure` removes the compiled ones, as
must be done before a source is edited. Modules that define records of msgspec which are decoded stay out: they need their annotations at run time.

    python compile.py build_ext --inplace
"""

from mypyc.build import mypycify
from setuptools import setup

COMPILED = [
    "kvstore/encoding.py",
    "kvstore/member/delivery.py",
    "kvstore/member/driver.py",
    "kvstore/member/member.py",
    "kvstore/member/proposals.py",
    "kvstore/member/reads.py",
    "kvstore/mvcc/lease.py",
    "kvstore/mvcc/record.py",
    "kvstore/mvcc/store.py",
    "kvstore/mvcc/watch.py",
    "kvstore/mvcc/write.py",
    "kvstore/peer/frames.py",
    "kvstore/raft/candidate.py",
    "kvstore/raft/core.py",
    "kvstore/raft/follower.py",
    "kvstore/raft/leader.py",
    "kvstore/raft/log.py",
    "kvstore/raft/progress.py",
    "kvstore/raft/quorum.py",
    "kvstore/raft/reads.py",
    "kvstore/statemachine/machine.py",
]


OPTIONS = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]

if __name__ == "__main__":
    setup(name="keelson-compiled", packages=[], py_modules=[], ext_modules=mypycify([*OPTIONS, *COMPILED], opt_level="3", debug_level="0"))
