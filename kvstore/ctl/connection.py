"""From global flags to a client: endpoints, certificates, who we are. Raises Failure with etcdctl's words and exit codes."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvstore.ctl.failure import BAD_ARGUMENTS, BAD_CONNECTION, BAD_FEATURE, ERROR, Failure
from kvstore.ctl.flags import GLOBAL_FLAGS, Given, shouted, take_environment
from kvstore.ctl.output import FORMS
from kvstore.ctl.prompt import ask

if TYPE_CHECKING:
    from kvstore.client.authentication import Identity
    from kvstore.client.client import Client
    from kvstore.client.endpoints import TlsFiles

REQUEST_BYTES_MAX = 2 << 20
"""What etcdctl sends at most unless told otherwise."""

OpenClient = Callable[[list[str]], "Client"]


class Connector:
    """Makes the clients of one command line. What is wrong with the flags comes out when the first client is made; the password is asked for once."""

    def __init__(self, given: Given, environment: Mapping[str, str]) -> None:
        self._given = given
        self._identity: Identity | None = None
        self._conflict: Failure | None = None
        try:
            take_environment(given, environment)
        except Failure as conflict:
            self._conflict = conflict

    def open(self, endpoints: list[str] | None = None) -> "Client":
        if self._conflict is not None:
            raise self._conflict
        flags = self._given.flags
        if flags["debug"] and self._identity is None:
            _show(flags)
        found = self._endpoints() if endpoints is None else endpoints
        tls = _tls(self._given)
        identity = self._who()
        if flags["write-out"] not in FORMS:
            raise Failure(BAD_FEATURE, "unsupported output format")
        if not found:
            raise Failure(BAD_CONNECTION, "etcdclient: no available endpoints")
        from kvstore.client.client import Client

        try:
            return Client(
                found,
                tls=tls,
                timeout_s=flags["command-timeout"],
                keepalive_time_s=flags["keepalive-time"],
                keepalive_timeout_s=flags["keepalive-timeout"],
                identity=identity,
                login_timeout_s=flags["dial-timeout"],
                request_bytes_max=flags["max-request-bytes"] or REQUEST_BYTES_MAX,
                response_bytes_max=flags["max-recv-bytes"],
            )
        except (ValueError, OSError) as error:
            raise Failure(BAD_ARGUMENTS, _go_error(error)) from error

    def _endpoints(self) -> list[str]:
        flags = self._given.flags
        if flags["discovery-srv"]:
            from kvstore.client.discovery import LookupFailed, discover

            try:
                discovered = discover(flags["discovery-srv"], flags["discovery-srv-name"])
            except LookupFailed as error:
                raise Failure(ERROR, str(error)) from None
            if not flags["insecure-discovery"]:
                for endpoint in [found for found in discovered if found.startswith("http://")]:
                    print(f'ignoring discovered insecure endpoint "{endpoint}"', file=sys.stderr)
                discovered = [found for found in discovered if not found.startswith("http://")]
            if discovered:
                flags["endpoints"] = discovered
        return list(flags["endpoints"])

    def _who(self) -> "Identity":
        if self._identity is None:
            self._identity = _identity(self._given.flags)
        return self._identity


def _identity(flags: Mapping[str, Any]) -> "Identity":
    from kvstore.client.authentication import NOBODY, Identity

    if flags["auth-jwt-token"]:
        if flags["user"] or flags["password"]:
            raise Failure(BAD_ARGUMENTS, "--auth-jwt-token cannot be used with --user or --password")
        return Identity(token=flags["auth-jwt-token"])
    user = flags["user"]
    if not user:
        return NOBODY
    if flags["password"]:
        return Identity(user, flags["password"])
    name, colon, password = user.partition(":")
    return Identity(name, password if colon else ask("Password: "))


def _tls(given: Given) -> "TlsFiles | None":
    """None is plain text, unless an endpoint says https."""
    flags = given.flags
    for name in ("cert", "key", "cacert"):
        if name in given.changed and not flags[name]:
            raise Failure(BAD_ARGUMENTS, f"empty string is passed to --{name} option")
    if bool(flags["cert"]) != bool(flags["key"]):
        raise Failure(BAD_ARGUMENTS, f"KeyFile and CertFile must both be present[key: {flags['key']}, cert: {flags['cert']}]")
    for name in ("cacert", "cert", "key"):
        if flags[name]:
            _must_open(flags[name])
    wanted = any(flags[name] for name in ("cert", "key", "cacert")) or not flags["insecure-transport"]
    if not wanted:
        return None
    from kvstore.client.endpoints import TlsFiles

    return TlsFiles(flags["cacert"], flags["cert"], flags["key"], flags["insecure-skip-tls-verify"])


def _must_open(name: str) -> None:
    try:
        Path(name).read_bytes()
    except OSError as error:
        raise Failure(BAD_ARGUMENTS, _go_error(error)) from None


def _go_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"open {error.filename}: {error.strerror.lower()}"
    return str(error)


def _show(flags: Mapping[str, Any]) -> None:
    """What --debug begins with."""
    for name, flag in GLOBAL_FLAGS.items():
        value = flags[name]
        if isinstance(flag.default, bool):
            value = "true" if value else "false"
        elif isinstance(value, list):
            value = "[" + ",".join(value) + "]"
        print(f"ETCDCTL_{shouted(name)}={getattr(value, 'text', value)}", file=sys.stderr)


class OnFirstUse:
    """A client that is made when something is asked of it: arguments are looked at before, as etcdctl does, and nothing is imported in vain."""

    def __init__(self, make: Callable[[], "Client"]) -> None:
        self._make = make
        self._made: Client | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)

    async def __aenter__(self) -> "OnFirstUse":
        return self

    async def __aexit__(self, *_outcome: object) -> None:
        if self._made is not None:
            await self._made.close()
