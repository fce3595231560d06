"""The services of etcd's v3 API as one ASGI application (`app.make_app`) over a `backend.Backend`. Knows no Raft and no MVCC."""
