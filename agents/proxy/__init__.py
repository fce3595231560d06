"""Services become addresses that answer."""
