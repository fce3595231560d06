"""The protocol's message classes under one short name each, and which message each method takes and answers."""

from aetcd.rpc import *  # noqa: F403
