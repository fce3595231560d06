"""Scheduler, controllers and node agents. Not built yet: the store comes first."""
