"""The Kubernetes-compatible API server. Not built yet: the store comes first."""
