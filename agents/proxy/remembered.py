"""The clients of services with session affinity, as a proxy before has left them in the kernel. They outlive it there, as kube-proxy's do."""

from typing import Any

import msgspec

from agents.proxy.nft import nft


def elements(listed: bytes, table: str) -> dict[str, list[str]]:
    """By set, the clients and what is left of their time as `nft` takes them, out of what `nft -j list sets` says. Raises ValueError."""
    said = msgspec.json.decode(listed, type=dict[str, list[dict[str, Any]]])
    found: dict[str, list[str]] = {}
    for each in said.get("nftables", ()):
        one = each.get("set") or {}
        if one.get("table") != table:
            continue
        clients = [client["elem"] for client in one.get("elem", ()) if isinstance(client, dict) and "elem" in client]
        if kept := [f"{client['val']} expires {client['expires']}s" for client in clients if client.get("expires")]:
            found[one["name"]] = kept
    return found


async def ask(table: str) -> dict[str, list[str]]:
    """Nothing if there is no such table. Raises OSError (an `nft` may know no JSON), ValueError."""
    return elements(await nft("-j", "list", "sets", "ip"), table)
