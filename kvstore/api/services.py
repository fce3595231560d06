"""Which function serves which method: the one table of all RPCs."""

from kvstore.api.auth import Auth
from kvstore.api.backend import Backend
from kvstore.api.cluster import Cluster
from kvstore.api.election import Election
from kvstore.api.health_service import Health, Serving
from kvstore.api.kv import KV
from kvstore.api.lease import Lease
from kvstore.api.lock import Lock
from kvstore.api.maintenance import Maintenance
from kvstore.api.reflection import Reflection
from kvstore.api.rpc import Settings, Stats, Stream, Unary
from kvstore.api.watch import Watch
from kvstore.wire.messages import METHODS, REFLECTION, REFLECTION_ALPHA

# RangeStream came with etcd 3.7; to a server of 3.6 it is a method like any unknown one, and clients fall back.
_UNKNOWN_IN_3_6 = {"/etcdserverpb.KV/RangeStream"}


def make_services(backend: Backend, settings: Settings, stats: Stats) -> tuple[dict[str, Unary], dict[str, Stream]]:
    """Unary and streaming functions by gRPC path."""
    kv, lease, watch = KV(backend, settings), Lease(backend, settings), Watch(backend, settings, stats)
    serving = Serving()
    cluster, maintenance = Cluster(backend, settings), Maintenance(backend, settings, serving)
    auth, health = Auth(backend, settings), Health(backend, settings, serving)
    lock, election = Lock(backend, settings), Election(backend, settings)
    unary: dict[str, Unary] = {
        "/etcdserverpb.KV/Range": kv.range,
        "/etcdserverpb.KV/Put": kv.put,
        "/etcdserverpb.KV/DeleteRange": kv.delete_range,
        "/etcdserverpb.KV/Txn": kv.txn,
        "/etcdserverpb.KV/Compact": kv.compact,
        "/etcdserverpb.Lease/LeaseGrant": lease.grant,
        "/etcdserverpb.Lease/LeaseRevoke": lease.revoke,
        "/etcdserverpb.Lease/LeaseTimeToLive": lease.time_to_live,
        "/etcdserverpb.Lease/LeaseLeases": lease.leases,
        "/etcdserverpb.Cluster/MemberList": cluster.member_list,
        "/etcdserverpb.Cluster/MemberAdd": cluster.member_add,
        "/etcdserverpb.Cluster/MemberRemove": cluster.member_remove,
        "/etcdserverpb.Cluster/MemberUpdate": cluster.member_update,
        "/etcdserverpb.Cluster/MemberPromote": cluster.member_promote,
        "/etcdserverpb.Maintenance/Alarm": maintenance.alarm,
        "/etcdserverpb.Maintenance/Status": maintenance.status,
        "/etcdserverpb.Maintenance/Defragment": maintenance.defragment,
        "/etcdserverpb.Maintenance/Hash": maintenance.hash,
        "/etcdserverpb.Maintenance/HashKV": maintenance.hash_kv,
        "/etcdserverpb.Maintenance/MoveLeader": maintenance.move_leader,
        "/etcdserverpb.Maintenance/Downgrade": maintenance.downgrade,
        **auth.methods(),
        "/grpc.health.v1.Health/Check": health.check,
        "/grpc.health.v1.Health/List": health.list,
        "/v3lockpb.Lock/Lock": lock.lock,
        "/v3lockpb.Lock/Unlock": lock.unlock,
        "/v3electionpb.Election/Campaign": election.campaign,
        "/v3electionpb.Election/Proclaim": election.proclaim,
        "/v3electionpb.Election/Leader": election.leader,
        "/v3electionpb.Election/Resign": election.resign,
    }
    streams: dict[str, Stream] = {
        "/etcdserverpb.Watch/Watch": watch.watch,
        "/etcdserverpb.Lease/LeaseKeepAlive": lease.keep_alive,
        "/etcdserverpb.Maintenance/Snapshot": maintenance.snapshot,
        "/grpc.health.v1.Health/Watch": health.watch,
        "/v3electionpb.Election/Observe": election.observe,
    }
    if settings.reflection:
        served = {path.split("/")[1] for path in [*unary, *streams, REFLECTION, REFLECTION_ALPHA]}
        streams[REFLECTION] = streams[REFLECTION_ALPHA] = Reflection(list(served)).info
    optional = {REFLECTION, REFLECTION_ALPHA} | _UNKNOWN_IN_3_6
    assert unary.keys() | streams.keys() | optional == METHODS.keys(), "every method has its function"
    return unary, streams
