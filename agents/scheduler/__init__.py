"""Pods to nodes."""
