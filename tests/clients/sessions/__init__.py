"""Sessions with Python client libraries: programs of their own, each `python -m tests.clients.sessions.NAME HOST PORT [CA CERT KEY]`.

A program of its own because etcd3's generated code only loads with the pure-Python protobuf, which a process chooses once. Each prints one
JSON document of all it saw, without what is one cluster's own.
"""
