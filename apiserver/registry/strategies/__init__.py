"""What each resource adds to a write: checks that no schema can state, what may not change, what the server sets (`registry.strategy_for`)."""
