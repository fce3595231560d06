"""Objects in the store, under the keys that Kubernetes uses, and the watch cache in front of it."""
