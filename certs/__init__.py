"""The PKI: a CA, and server, peer and client certificates made with `cryptography`. Knows nothing else of the project."""
