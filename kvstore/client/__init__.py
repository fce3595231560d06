"""The async client: the one door into the store for everybody outside `kvstore`.

client.py      every call; endpoints, tunnel, authentication, retry and errors are its parts, discovery finds endpoints in DNS
requests.py    what a transaction is made of
watch.py       a watch that survives its connection
lease.py, session.py    a lease kept alive, and what lives as long as it
lock.py, election.py, barrier.py, queue.py    coordination, on keys; contest and waiting are their common parts
namespace.py, leasing.py    the same client below a prefix, or with reads from memory (around: their common part);
               writes says what a transaction may write
mirror.py      one cluster's keys copied to another
"""
