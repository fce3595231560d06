"""Who may do what, as replicated state: users, roles, permissions on key ranges. Pure: time, chance and secrets come in as arguments."""
