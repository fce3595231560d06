"""etcd3gw 2, OpenStack's client, which speaks only JSON to the gateway."""

import threading

import etcd3gw

from tests.clients.sessions.arguments import Seen, arguments


def main() -> None:
    told = arguments()
    seen = Seen()
    protocol = "http" if told.ca is None else "https"
    client = etcd3gw.client(told.host, told.port, told.ca, told.key, told.cert, 20, protocol)
    values(client, seen)
    transactions(client, seen)
    leases(client, seen)
    watches(client, seen)
    locks(client, seen)
    seen("api", client.api_path)
    seen("members", sorted([member["name"], len(member["peerURLs"])] for member in client.members()))
    seen("status", sorted(set(client.status()) - {"storageVersion", "dbSizeQuota", "downgradeInfo"}))
    client.delete_prefix("gw/")
    seen.tell()


def values(client: etcd3gw.Etcd3Client, seen: Seen) -> None:
    seen("missing", client.get("gw/none"))
    seen("put", client.put("gw/a", "1"))
    seen("put bytes", client.put("gw/b", b"\x00\xff"))
    seen("get", client.get("gw/a"))
    [(value, about)] = client.get("gw/a", metadata=True)
    seen("metadata", [value, about["key"], about["version"], about["create_revision"] == about["mod_revision"]])
    for order, target in (("ascend", "key"), ("descend", "mod"), ("ascend", "value"), ("descend", "create")):
        seen(f"prefix {order} {target}", [found for found, _ in client.get_prefix("gw/", sort_order=order, sort_target=target)])
    seen("all", len(client.get_all()) >= 2)
    seen("create", client.create("gw/c", "new"))
    seen("create again", client.create("gw/c", "newer"))
    seen("replace", client.replace("gw/c", "new", "newest"))
    seen("replace no more", client.replace("gw/c", "new", "other"))
    seen("delete", client.delete("gw/c"))
    seen("delete again", client.delete("gw/c"))
    seen("delete prefix", client.delete_prefix("gw/"))
    seen.error("empty key", lambda: client.put("", "x"))


def transactions(client: etcd3gw.Etcd3Client, seen: Seen) -> None:
    request = {
        "compare": [{"key": "Z3cvdA==", "result": "EQUAL", "target": "VERSION", "version": 0}],
        "success": [{"request_put": {"key": "Z3cvdA==", "value": "MQ=="}}],
        "failure": [{"request_delete_range": {"key": "Z3cvdA=="}}],
    }
    for _ in range(3):
        seen("txn", client.transaction(request).get("succeeded", False))


def leases(client: etcd3gw.Etcd3Client, seen: Seen) -> None:
    lease = client.lease(ttl=1000)
    client.put("gw/leased", "x", lease=lease)
    seen("lease", [lease.id > 0, 990 <= lease.ttl() <= 1000, lease.refresh(), lease.keys()])
    seen("revoke", lease.revoke())
    seen("revoked", client.get("gw/leased"))


def watches(client: etcd3gw.Etcd3Client, seen: Seen) -> None:
    iterator, cancel = client.watch_prefix("gw/watched")
    writer = threading.Timer(0.5, lambda: [client.put("gw/watched/1", "1"), client.delete("gw/watched/1")])
    writer.start()
    for _ in range(2):
        event = next(iterator)
        seen("event", [event.get("type", "PUT"), event["kv"]["key"], event["kv"].get("value"), event["kv"].get("version")])
    cancel()
    writer.join()


def locks(client: etcd3gw.Etcd3Client, seen: Seen) -> None:
    first, second = client.lock("gw-lock", ttl=60), client.lock("gw-lock", ttl=60)
    seen("acquire", [first.acquire(), second.acquire(), first.is_acquired(), second.is_acquired()])
    seen("refresh", first.refresh())
    seen("release", first.release())
    seen("acquire second", [second.acquire(), second.release()])


if __name__ == "__main__":
    main()
