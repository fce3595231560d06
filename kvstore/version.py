"""What the server says of itself.

Clients gate features on etcd's version (the Kubernetes API server wants at least 3.5.13 before it trusts
watch progress), so the protocol level spoken here is told as an etcd version; Keelson's own is beside it.
"""

KEELSON_VERSION = "0.1.0"

ETCD_VERSION = "3.6.0"
"""The etcd release whose observable behaviour this server follows."""

CLUSTER_VERSION = "3.6.0"
STORAGE_VERSION = "3.6.0"
