"""aetcd 1.0, the asyncio client."""

import asyncio
import io

import aetcd

from tests.clients.sessions.arguments import Seen, arguments
from tests.clients.sessions.tunnel import tunnel


async def main() -> None:
    told = arguments()
    seen = Seen()
    async with tunnel(told) as (host, port), aetcd.Client(host, port, timeout=20) as client:
        await values(client, seen)
        await transactions(client, seen)
        await leases(client, seen)
        await watches(client, seen)
        await compaction(client, seen)
        await cluster(client, seen)
        await locks(client, seen)
        await client.delete_prefix(b"aetcd/")
    seen.tell()


async def error(seen: Seen, name: str, call: object) -> None:
    try:
        seen(name, ["no error", await call])
    except Exception as caught:
        seen(name, [type(caught).__name__, str(caught)])


def shown(found: object) -> object:
    return None if found is None else [found.key, found.value, found.version, found.lease, found.create_revision <= found.mod_revision]


async def values(client: aetcd.Client, seen: Seen) -> None:
    seen("missing", shown(await client.get(b"aetcd/none")))
    await client.put(b"aetcd/a", b"1")
    before = await client.put(b"aetcd/a", b"2", prev_kv=True)
    seen("previous", shown(before.prev_kv))
    seen("get", shown(await client.get(b"aetcd/a")))
    seen("serializable", shown(await client.get(b"aetcd/a", serializable=True)))
    await client.put(b"aetcd/b", b"\x00\xff")
    for order, target in (("ascend", "key"), ("descend", "mod"), ("ascend", "value"), ("descend", "create"), ("ascend", "version")):
        found = await client.get_prefix(b"aetcd/", sort_order=order, sort_target=target)
        seen(f"prefix {order} {target}", [shown(kv) for kv in found])
    found = await client.get_range(b"aetcd/a", b"aetcd/b")
    seen("range", [[shown(kv) for kv in found], found.more, found.count])
    seen("keys only", [shown(kv) for kv in await client.get_prefix(b"aetcd/", keys_only=True)])
    seen("replace", await client.replace(b"aetcd/a", b"2", b"3"))
    seen("replace no more", await client.replace(b"aetcd/a", b"2", b"4"))
    gone = await client.delete(b"aetcd/a", prev_kv=True)
    seen("delete", shown(gone.prev_kv))
    seen("delete again", await client.delete(b"aetcd/a"))
    seen("delete range", (await client.delete_range(b"aetcd/", b"aetcd0")).deleted)
    await error(seen, "empty key", client.put(b"", b"x"))
    await error(seen, "too large", client.put(b"aetcd/big", b"x" * 1_600_000))


async def transactions(client: aetcd.Client, seen: Seen) -> None:
    t = client.transactions
    for expected in (0, 1):
        done, answers = await client.transaction(
            compare=[t.version(b"aetcd/t") == expected, t.value(b"aetcd/absent") != b"x"],
            success=[t.put(b"aetcd/t", b"s"), t.get(b"aetcd/t")],
            failure=[t.get(b"aetcd/t"), t.delete(b"aetcd/t"), t.get(b"aetcd/t")],
        )
        seen(f"txn {expected}", [done, len(answers)])
    await error(seen, "twice", client.transaction([], [t.put(b"aetcd/t", b"1"), t.put(b"aetcd/t", b"2")], []))


async def leases(client: aetcd.Client, seen: Seen) -> None:
    lease = await client.lease(1000, 4712)
    await client.put(b"aetcd/leased", b"x", lease=lease)
    info = await client.get_lease_info(4712)
    seen("lease", [lease.id, info.ID, info.grantedTTL, 990 <= info.TTL <= 1000, list(info.keys)])
    seen("leased", shown(await client.get(b"aetcd/leased")))
    seen("refresh", (await lease.refresh()).TTL)
    await error(seen, "again", client.lease(1000, 4712))
    await lease.revoke()
    seen("revoked", shown(await client.get(b"aetcd/leased")))
    seen("gone", (await client.get_lease_info(4712)).TTL)
    await error(seen, "revoke again", client.revoke_lease(4712))


async def watches(client: aetcd.Client, seen: Seen) -> None:
    await client.put(b"aetcd/watched", b"0")
    start = (await client.get(b"aetcd/watched")).mod_revision
    watch = await client.watch_prefix(b"aetcd/watched", start_revision=start, prev_kv=True)
    await client.put(b"aetcd/watched", b"1")
    await client.put(b"aetcd/watched/child", b"2")
    await client.delete(b"aetcd/watched")
    events = []
    async with asyncio.timeout(20):
        async for event in watch:
            events.append([str(event.kind), shown(event.kv), event.prev_kv and shown(event.prev_kv), event.kv.mod_revision - start])
            if len(events) == 4:
                break
    seen("events", events)
    await watch.cancel()


async def compaction(client: aetcd.Client, seen: Seen) -> None:
    await client.put(b"aetcd/compacted", b"1")
    await client.put(b"aetcd/compacted", b"2")
    revision = (await client.get(b"aetcd/compacted")).mod_revision
    await client.compact(revision, physical=True)
    await error(seen, "compacted", client.compact(revision))
    await error(seen, "future", client.compact(revision + 1000))


async def cluster(client: aetcd.Client, seen: Seen) -> None:
    members = [[member.name, len(member.peer_urls), len(member.client_urls)] async for member in client.members()]
    seen("members", sorted(members))
    status = await client.status()
    seen("status", [status.db_size > 0, status.raft_index > 0, status.leader.name.startswith("m")])
    seen("alarms", [alarm async for alarm in client.list_alarms()])
    await client.defragment()
    saved = io.BytesIO()
    await client.snapshot(saved)
    seen("snapshot", saved.tell() > 0)


async def locks(client: aetcd.Client, seen: Seen) -> None:
    first, second = client.lock(b"aetcd-lock", ttl=60), client.lock(b"aetcd-lock", ttl=60)
    seen("acquire", await first.acquire(timeout=10))
    seen("held", [await first.is_acquired(), await second.acquire(timeout=0.2)])
    seen("release", await first.release())
    seen("acquire second", await second.acquire(timeout=10))
    seen("release second", await second.release())


if __name__ == "__main__":
    asyncio.run(main())
