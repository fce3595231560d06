"""A new authority in the place of the old one, while everybody goes on: three steps, each on files only, each harmless when repeated.

    TRUST   a new authority is made, and ca.crt holds the old and the new: everybody who reads it trusts both
    ISSUE   every certificate is made anew by the new one; ca.crt holds the new and the old
    FINISH  ca.crt holds the new one alone

Between two steps everybody must have read the files again: members do within half a second, clients when they start or look again. A client that
still knows only the old authority is locked out by ISSUE, one that still shows an old certificate by FINISH. Which step comes next is read off
the files, so that a rotation that was interrupted goes on where it stopped.
"""

import enum
from datetime import datetime
from pathlib import Path

from certs import authority, bundle, files, revocation
from certs.files import Unusable


class Step(enum.Enum):
    TRUST = "trust"
    ISSUE = "issue"
    FINISH = "finish"


def next_step(folder: Path) -> Step:
    """Raises FileNotFoundError or Unusable if there is no authority."""
    if files.certificate_path(folder, bundle.NEXT_CA).exists():
        trusted = files.read_certificates(files.certificate_path(folder, bundle.CA))
        new = files.read_certificate(files.certificate_path(folder, bundle.NEXT_CA))
        return Step.ISSUE if new in trusted else Step.TRUST
    return Step.FINISH if len(files.read_certificates(files.certificate_path(folder, bundle.CA))) > 1 else Step.TRUST


def take(folder: Path, step: Step, now: datetime) -> list[str]:
    """Do one step; returns the names of the files that were written. Raises Unusable, InvalidRequest, FileNotFoundError."""
    return {Step.TRUST: _trust, Step.ISSUE: _issue, Step.FINISH: _finish}[step](folder, now)


def _trust(folder: Path, now: datetime) -> list[str]:
    old = files.read(folder, bundle.CA)
    try:
        new = files.read(folder, bundle.NEXT_CA)
    except (FileNotFoundError, Unusable):
        new = authority.create(authority.name_of(old.certificate.subject), now)
        files.write(folder, bundle.NEXT_CA, new, overwrite=True)
    # The old one first: whoever reads one certificate from the file finds that of the key beside it.
    files.write_certificates(files.certificate_path(folder, bundle.CA), [old.certificate, new.certificate])
    return [bundle.NEXT_CA, bundle.CA]


def _issue(folder: Path, now: datetime) -> list[str]:
    new = files.read(folder, bundle.NEXT_CA)
    trust = files.certificate_path(folder, bundle.CA)
    others = [each for each in files.read_certificates(trust) if each != new.certificate]
    written = [bundle.CA]
    for stem in bundle.leaves(folder):
        if not authority.signed_by(files.read_certificate(files.certificate_path(folder, stem)), new.certificate):
            bundle.renew(folder, stem, new, now)
            written.append(stem)
    # From here on the new one is the authority; its files under the other name go last, for they say where an interrupted step goes on.
    files.write_atomically(files.key_path(folder, bundle.CA), new.key_pem(), files.PRIVATE)
    files.write_certificates(trust, [new.certificate, *others])
    _forget_next(folder)
    if revocation.list_path(folder).exists():
        revocation.revoke(folder, (), now)  # signed by the new one; who checks signatures would not take the old one's
        written.append(revocation.list_path(folder).name)
    return written


def _finish(folder: Path, _now: datetime) -> list[str]:
    trust = files.certificate_path(folder, bundle.CA)
    new = files.read(folder, bundle.CA).certificate
    strangers = [stem for stem in bundle.leaves(folder) if not authority.signed_by(files.read_certificate(files.certificate_path(folder, stem)), new)]
    if strangers:
        raise Unusable(f"{', '.join(strangers)} in {folder} would be trusted no more: renew or remove them first")
    files.write_certificates(trust, [new])
    return [bundle.CA]


def _forget_next(folder: Path) -> None:
    files.key_path(folder, bundle.NEXT_CA).unlink(missing_ok=True)
    files.certificate_path(folder, bundle.NEXT_CA).unlink()
