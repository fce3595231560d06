"""Clients as their users have them, unmodified, against three members with TLS: the same session with etcd and with Keelson, outputs compared.

etcdctl sessions are functions in `etcdctl_sessions.py`; sessions of Python libraries are programs in `sessions/` that print what they saw.
What must differ between two clusters (ids, ports, sizes, durations) is masked in `masking.py`; everything else is compared to the letter.
"""
