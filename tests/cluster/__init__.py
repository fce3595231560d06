"""Real processes that are killed, paused, restarted and starved while clients write and read.

load.py      clients in threads that record what they asked and were told
promises.py  what must hold afterwards: linearizability, nothing acknowledged lost, equal hashes
million.py   a million keys: load, restart, memory: python -m tests.cluster.million
"""
