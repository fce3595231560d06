"""How each system under measurement is started, and with which settings."""
