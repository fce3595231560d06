"""The deterministic simulator: whole members under virtual time and a seeded adversary, judged by checkers at every step and at the end."""
