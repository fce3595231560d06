"""Sizes and counts that a request may have, with etcd's defaults (semantics LIM-1)."""

REQUEST_BYTES_MAX = 1_572_864
"""--max-request-bytes: the largest request that changes something."""

MESSAGE_OVERHEAD_BYTES = 512 << 10
"""A gRPC message may be this much larger before it is refused without being read."""

TXN_OPERATIONS_MAX = 128
"""--max-txn-ops."""

SNAPSHOT_BLOB_BYTES = 32 << 10
"""What one message of a snapshot stream carries."""
