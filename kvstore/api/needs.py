"""What a caller must be for each method while authentication is on (AU-9, AU-10, M-7, MB-10).

A method that stands nowhere here is root's: whoever adds one and forgets this table has locked it, not opened it.
"""

import enum


class Need(enum.Enum):
    NOTHING = "anybody may"
    CHECKED = "depends on the request: the backend looks, or refuses nobody known"
    USER = "any user"
    ROOT = "root"


_CHECKED = {
    "etcdserverpb.KV": ("Range", "Put", "DeleteRange", "Txn"),
    "etcdserverpb.Watch": ("Watch",),
    "etcdserverpb.Lease": ("LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"),
    "etcdserverpb.Auth": ("AuthStatus", "UserGet", "UserList", "RoleGet", "RoleList"),
    # They work through keys and leases, in the caller's name.
    "v3lockpb.Lock": ("Lock", "Unlock"),
    "v3electionpb.Election": ("Campaign", "Proclaim", "Leader", "Observe", "Resign"),
}

_NEEDS = {f"/{service}/{name}": Need.CHECKED for service, names in _CHECKED.items() for name in names} | {
    "/etcdserverpb.Auth/Authenticate": Need.NOTHING,
    "/etcdserverpb.Cluster/MemberList": Need.USER,
    "/etcdserverpb.Maintenance/Status": Need.USER,
    "/etcdserverpb.Maintenance/Alarm": Need.USER,  # to look; a change is root's, which is checked when it is applied
}


def need_of(path: str) -> Need:
    """gRPC's own services (health, reflection) tell nothing of what is stored."""
    return Need.NOTHING if path.startswith("/grpc.") else _NEEDS.get(path, Need.ROOT)
