"""All the certificates of one cluster in one folder: made when missing, renewed before they end, otherwise left alone.

ca.crt ca.key                     the authority; while it is replaced, the file has the old and the new one (see rotation.py)
ca.crl                            what it has revoked, if anything (see revocation.py)
server-m1.crt peer-m1.crt ...     of each member, and their keys
client-root.crt client-root.key   of whoever started the cluster; its common name `root` is the user once authentication is on
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from certs import authority, files, revocation
from certs.authority import Pair
from certs.profiles import CLIENT, LOOPBACK, PEER, RENEW_BEFORE_DAYS, SERVER, Profile

CA = files.CA
NEXT_CA = "ca-next"
"""The authority that is to replace the present one."""
ADMIN = "root"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Where the files of a cluster are, and which of them the call that returned this has written."""

    folder: Path
    written: tuple[str, ...] = ()

    @property
    def ca(self) -> Path:
        return files.certificate_path(self.folder, CA)

    def certificate(self, profile: Profile, name: str) -> Path:
        return files.certificate_path(self.folder, file_name(profile, name))

    def key(self, profile: Profile, name: str) -> Path:
        return files.key_path(self.folder, file_name(profile, name))


def file_name(profile: Profile, name: str) -> str:
    """The name of the files, without suffix, of `name`'s certificate for `profile`. Raises InvalidRequest if it would not be one file."""
    if "/" in name or "\0" in name or not name:
        raise authority.InvalidRequest(f"{name!r} cannot be part of a file name")
    return f"{profile.name}-{name}"


def renew(folder: Path, stem: str, ca: Pair, now: datetime) -> Pair:
    """Another certificate and key for the same subject, hosts and uses, in place of those in `stem`'s files. Raises Unusable, InvalidRequest."""
    old = files.read_certificate(files.certificate_path(folder, stem))
    profile = authority.profile_of(old, stem)
    name, organizations = authority.name_of(old.subject), authority.organizations_of(old.subject)
    pair = authority.issue(ca, profile, name, authority.hosts_of(old), now, organizations=organizations)
    files.write(folder, stem, pair, overwrite=True)
    return pair


def leaves(folder: Path) -> list[str]:
    """File names, without suffix, of all certificates that have a key there and are not the authority's."""
    return [path.stem for path in sorted(folder.glob("*.crt")) if path.stem not in (CA, NEXT_CA) and files.key_path(folder, path.stem).exists()]


def ensure(folder: Path, members: Iterable[str], now: datetime, hosts: Iterable[str] = LOOPBACK) -> Bundle:
    """Make or renew whatever the cluster of `members` on `hosts` lacks.

    A leaf is made anew if it is missing, unusable, of another authority, about to end, revoked, or lacks a host. The authority is made only if
    neither of its files is there: everything ever signed hangs on it. Raises Unusable if it is damaged, InvalidRequest if it is about to end.
    """
    ca, is_new = ensure_ca(folder, now, f"keelson {folder.resolve().parent.name}")
    revoked = revocation.serials(folder)
    wanted = [(profile, name, tuple(hosts)) for name in members for profile in (SERVER, PEER)]
    wanted.append((CLIENT, ADMIN, ()))
    written = [CA] if is_new else []
    for profile, name, of_hosts in wanted:
        stem = file_name(profile, name)
        if is_good(folder, stem, ca, of_hosts, now, revoked):
            continue
        files.write(folder, stem, authority.issue(ca, profile, name, of_hosts, now), overwrite=True)
        written.append(stem)
    return Bundle(folder, tuple(written))


def ensure_ca(folder: Path, now: datetime, name: str) -> tuple[Pair, bool]:
    """The authority of a folder, and whether it was made just now. Raises Unusable, InvalidRequest."""
    if files.certificate_path(folder, CA).exists() or files.key_path(folder, CA).exists():
        ca = files.read(folder, CA)
        if _ends_soon(ca, now):
            raise authority.InvalidRequest(
                f"the authority in {folder} ends on {ca.certificate.not_valid_after_utc:%Y-%m-%d}: make a new one with `keelson certs rotate`"
            )
        return ca, False
    ca = authority.create(name[: authority.COMMON_NAME_MAX], now)
    files.write(folder, CA, ca)
    return ca, True


def is_good(folder: Path, stem: str, ca: Pair, hosts: Collection[str], now: datetime, revoked: Collection[int]) -> bool:
    """Whether certificate and key are there, of this authority, not revoked, good for a while yet, and for all hosts."""
    try:
        pair = files.read(folder, stem)
    except (FileNotFoundError, files.Unusable):
        return False
    return (
        authority.signed_by(pair.certificate, ca.certificate)
        and not _ends_soon(pair, now)
        and pair.certificate.serial_number not in revoked
        and set(hosts) <= set(authority.hosts_of(pair.certificate))
    )


def _ends_soon(pair: Pair, now: datetime) -> bool:
    return pair.certificate.not_valid_after_utc < now + timedelta(days=RENEW_BEFORE_DAYS)
