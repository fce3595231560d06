"""The services of etcd's v3 API as one ASGI application (`app.make_app`) over a `backend.Backend`. Knows no Raft and no MVCC.

The frame        app, grpc_app and gateway_app (two ways to the same functions), services (the table of all RPCs), rpc, held, calls, cors
The lanes        lane and gateway_lane: requests for keys without task and events, over gRPC and as JSON (gateway_keys); pending
Who asks         identity, needs, admission, behalf
The services     kv, watch, lease, cluster, maintenance, auth; lock and election on contest and watching; health_service, reflection
The pages        health, debug, swagger
"""
