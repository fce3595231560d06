"""`keelson up | down | status | certs | drill`: a cluster on this machine, as real processes, started, watched, broken on purpose and stopped.

`cluster` is what was asked for (members, ports, files), kept in cluster.json; `supervise` decides what to do about processes, purely;
`supervisor` does it, in a process of its own; `processes` knows one process from another; `calls` asks a running member over its client port, with no
help from the store's own code. Each command is a file: `up`, `down`, `status`, `certs` (`rotating`), `drill` (`backup_drill`, `rotate_drill`);
`main` puts them together. Drills with a cluster of their own are in keelson/drills.

Linux only: processes are told apart through /proc and waited for through pidfds.
"""
