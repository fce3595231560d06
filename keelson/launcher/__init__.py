"""`keelson up | down | status | certs`: real processes, started, watched and stopped."""
