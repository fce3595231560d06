"""The numbers that carry a meaning, one type each, so that a term is never passed for an index."""

from typing import NewType

Term = NewType("Term", int)
"""Raft term (paper, 5.1). 0 before the first election."""

Index = NewType("Index", int)
"""Position in the Raft log. The first entry has index 1; 0 means "before the first"."""

MemberId = NewType("MemberId", int)
"""A member of the cluster, 64 bits unsigned, never 0 (0 means "nobody")."""

ClusterId = NewType("ClusterId", int)
"""A cluster, 64 bits unsigned; members of different clusters refuse each other."""

Revision = NewType("Revision", int)
"""Main revision of the store: 1 when empty, plus one for each transaction that changed something."""

LeaseId = NewType("LeaseId", int)
"""A lease, 64 bits signed; 0 means "no lease"."""

RequestId = NewType("RequestId", int)
"""A proposal, unique over members and restarts, 64 bits unsigned."""

NOBODY = MemberId(0)
NO_TERM = Term(0)
NO_INDEX = Index(0)
NO_LEASE = LeaseId(0)
