"""The store: one process is one member of a Raft-replicated, LMDB-backed key-value store that speaks etcd's v3 API.

Rooms, from the ground up (imports only go down; `lint-imports` checks it):

* `ids`, `model`, `errors`, `encoding`, `version`: the shared words; `accounts`: those of users, roles and callers; `checks`: what is wrong with
  a request, whatever the state; `described`: a request in words, for the log;
* `raft`: consensus, sans-IO; `storage`: LMDB behind a small protocol, and the Raft log on it;
* `mvcc`: the keys with their revisions, leases and watch sets; `auth`: users, roles, permissions, tokens;
* `statemachine`: one committed command in, one result out;
* `member`: the whole member, pure: what the simulator runs and the server drives;
* `wire`, `api`: etcd's protocol, and its services as an ASGI application over `api.backend.Backend`;
* `peer`: the members' own protocol; `server`: the shell with the event loop, sockets and files;
* `offline`: what is done to a member's files without the member: snapshots restored, data directories checked;
* `client`: the async client, the one door for everybody outside; `ctl`: `kvctl`.

Begin with `member/__init__.py` for the life of a request, with `raft/__init__.py` for consensus.
"""
