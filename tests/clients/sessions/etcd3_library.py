"""python-etcd3 0.12, the gRPC client most used from Python."""

import io
import queue

import etcd3

from tests.clients.sessions.arguments import Seen, arguments


def main() -> None:
    told = arguments()
    seen = Seen()
    with etcd3.client(told.host, told.port, ca_cert=told.ca, cert_cert=told.cert, cert_key=told.key, timeout=20) as client:
        values(client, seen)
        transactions(client, seen)
        leases(client, seen)
        watches(client, seen)
        compaction(client, seen)
        cluster(client, seen)
        locks(client, seen)
        client.delete_prefix("etcd3/")
    seen.tell()


def meta(found: object) -> object:
    value, about = found
    if about is None:
        return [value, None]
    return [value, about.key, about.version, about.lease_id, about.create_revision <= about.mod_revision]


def values(client: etcd3.Etcd3Client, seen: Seen) -> None:
    seen("missing", client.get("etcd3/none"))
    client.put("etcd3/a", "1")
    before = client.put("etcd3/a", "2", prev_kv=True)
    seen("previous", before.prev_kv.value)
    seen("get", meta(client.get("etcd3/a")))
    seen("serializable", meta(client.get("etcd3/a", serializable=True)))
    client.put("etcd3/b", b"\x00\xff")
    for order, target in (("ascend", "key"), ("descend", "mod"), ("ascend", "value"), ("descend", "create"), ("ascend", "version")):
        seen(f"prefix {order} {target}", [meta(found) for found in client.get_prefix("etcd3/", sort_order=order, sort_target=target)])
    seen("range", [meta(found) for found in client.get_range("etcd3/a", "etcd3/b")])
    seen("keys only", [meta(found) for found in client.get_prefix("etcd3/", keys_only=True)])
    seen("count", client.get_prefix_response("etcd3/").count)
    seen("not exists", client.put_if_not_exists("etcd3/c", "new"))
    seen("exists", client.put_if_not_exists("etcd3/c", "newer"))
    seen("replace", client.replace("etcd3/c", "new", "newest"))
    seen("replace no more", client.replace("etcd3/c", "new", "other"))
    seen("delete", client.delete("etcd3/c"))
    seen("delete again", client.delete("etcd3/c"))
    seen("delete prefix", client.delete_prefix("etcd3/").deleted)
    seen.error("empty key", lambda: client.put("", "x"))
    seen.error("too large", lambda: client.put("etcd3/big", b"x" * 1_600_000))


def transactions(client: etcd3.Etcd3Client, seen: Seen) -> None:
    t = client.transactions
    for expected in ("0", "1"):
        done, answers = client.transaction(
            compare=[t.version("etcd3/t") == int(expected), t.value("etcd3/absent") != "x"],
            success=[t.put("etcd3/t", "s"), t.get("etcd3/t")],
            failure=[t.get("etcd3/t"), t.delete("etcd3/t"), t.get("etcd3/t")],
        )
        seen(f"txn {expected}", [done, len(answers)])
    done, answers = client.transaction(
        compare=[t.version("etcd3/t") == 0],
        success=[t.txn([t.create("etcd3/t") == 0], [t.put("etcd3/t", "nested"), t.get("etcd3/t")], [])],
        failure=[],
    )
    seen("nested", [done, len(answers), meta(client.get("etcd3/t"))])
    seen.error("twice", lambda: client.transaction([], [t.put("etcd3/t", "1"), t.put("etcd3/t", "2")], []))


def leases(client: etcd3.Etcd3Client, seen: Seen) -> None:
    lease = client.lease(1000, lease_id=4711)
    client.put("etcd3/leased", "x", lease=lease)
    seen("lease", [lease.id, lease.granted_ttl, 990 <= lease.remaining_ttl <= 1000, lease.keys])
    seen("leased", meta(client.get("etcd3/leased")))
    seen("refresh", [answer.TTL for answer in lease.refresh()])
    seen.error("again", lambda: client.lease(1000, lease_id=4711))
    lease.revoke()
    seen("revoked", client.get("etcd3/leased"))
    seen("gone", client.get_lease_info(4711).TTL)
    seen.error("revoke again", lease.revoke)


def watches(client: etcd3.Etcd3Client, seen: Seen) -> None:
    came: queue.Queue[object] = queue.Queue()
    start = client.put("etcd3/watched", "0").header.revision
    watch_id = client.add_watch_prefix_callback("etcd3/watched", came.put, start_revision=start, prev_kv=True)
    client.put("etcd3/watched", "1")
    client.put("etcd3/watched/child", "2")
    client.delete("etcd3/watched")
    events: list[object] = []
    while len(events) < 4:
        events.extend(came.get(timeout=20).events)
    shown = [[type(event).__name__, event.key, event.value, event.prev_value, event.mod_revision - start] for event in events]
    seen("events", shown)
    client.cancel_watch(watch_id)
    iterator, cancel = client.watch("etcd3/watched")
    client.put("etcd3/watched", "3")
    seen("next", next(iterator).value)
    cancel()


def compaction(client: etcd3.Etcd3Client, seen: Seen) -> None:
    client.put("etcd3/compacted", "1")
    revision = client.put("etcd3/compacted", "2").header.revision
    client.compact(revision, physical=True)
    seen.error("compacted", lambda: client.compact(revision))
    seen.error("future", lambda: client.compact(revision + 1000))
    came: queue.Queue[object] = queue.Queue()
    client.add_watch_callback("etcd3/compacted", came.put, start_revision=revision - 1)
    told = came.get(timeout=20)
    seen("compacted watch", [type(told).__name__, told.compacted_revision == revision])


def cluster(client: etcd3.Etcd3Client, seen: Seen) -> None:
    members = sorted(client.members, key=lambda member: member.name)
    seen("members", [[member.name, len(member.peer_urls), len(member.client_urls)] for member in members])
    status = client.status()
    seen("status", [status.db_size > 0, status.raft_index > 0, status.leader.name.startswith("m")])
    seen("alarms", list(client.list_alarms()))
    seen("disarmed", list(client.disarm_alarm()))
    client.defragment()
    seen("hash", isinstance(client.hash(), int))
    saved = io.BytesIO()
    client.snapshot(saved)
    seen("snapshot", saved.tell() > 0)


def locks(client: etcd3.Etcd3Client, seen: Seen) -> None:
    """One after the other: where two contend, etcd3 0.12 trips over newer versions of its own dependency tenacity."""
    for name in ("first", "second"):
        lock = client.lock("etcd3-lock", ttl=60)
        seen(name, [lock.acquire(timeout=10), lock.is_acquired(), lock.release(), lock.is_acquired()])


if __name__ == "__main__":
    main()
