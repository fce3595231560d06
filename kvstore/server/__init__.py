"""The shell: the only room with an event loop, sockets, files and a clock.

The process      main, node (starts and stops everything), loop (feeds the member, performs its effects), disk, throttle
The command line flags, flag_groups, config, tls_flags, tokens, ciphers
The beginning    bootstrap, join, discovery, discovery_service, checking
The services     backend (the member as `api` sees it), logins, backups, inspector
The client port  listeners (kvstore/http behind doors), guard, connections
The peer port    transport; both ports: door, certificates, tls, selfsigned
What is told     observed, collectors, metrics, tracing, log_outputs
"""
