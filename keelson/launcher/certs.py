"""`keelson certs`: an authority and certificates by hand, beside those that `up` makes by itself."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from certs import authority, bundle, files, revocation, rotation
from certs.authority import InvalidRequest, Pair
from certs.files import Unusable
from certs.profiles import CA_DAYS, LEAF_DAYS, LOOPBACK, PROFILES, RENEW_BEFORE_DAYS, Profile
from certs.rotation import Step
from keelson.cogs import output
from keelson.launcher import rotate_drill, rotating
from keelson.launcher.cluster import Refused, certs_folder
from keelson.launcher.options import DATA_DIR, Duration

HEADERS = ("FILE", "NAME", "USES", "HOSTS", "ISSUER", "SERIAL", "ENDS", "DAYS LEFT")
SERIAL_SHOWN = 12
"""Digits of a serial number in the table; JSON has all."""
OVERLAP_S = 5.0


@click.group("certs", help="Make, show, renew and revoke certificates, and rotate their authority.")
def group() -> None:
    pass


def _folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Where the files are.  [default: certs in the data directory, ./data/certs]",
    )(command)


def _force_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--force", is_flag=True, help="Overwrite what is there.")(command)


def _in(folder: Path | None) -> Path:
    return certs_folder(Path(DATA_DIR)) if folder is None else folder


@group.command("ca", help="Make a certificate authority: ca.crt and ca.key.")
@_folder_option
@_force_option
@click.option("--name", default="keelson", show_default=True, help="The authority's common name.")
@click.option("--days", default=CA_DAYS, show_default=True, help="How long it is valid.")
def make_ca(folder: Path | None, force: bool, name: str, days: int) -> None:
    with _complaints():
        _write(_in(folder), bundle.CA, authority.create(name, datetime.now(UTC), days), force)


def _leaf_command(profile: Profile, what: str) -> None:
    @group.command(profile.name, help=f"Make a certificate for {what}, signed by the authority in the same folder.")
    @click.argument("name")
    @_folder_option
    @_force_option
    @click.option(
        "--host",
        "hosts",
        multiple=True,
        help="A host name or IP address it is valid for; repeatable." + ("  [default: localhost, 127.0.0.1, ::1]" if profile.needs_hosts else ""),
    )
    @click.option("--days", default=LEAF_DAYS, show_default=True, help="How long it is valid.")
    def make(name: str, folder: Path | None, force: bool, hosts: tuple[str, ...], days: int) -> None:
        with _complaints():
            ca = files.read(_in(folder), bundle.CA)
            if not hosts and profile.needs_hosts:
                hosts = LOOPBACK
            pair = authority.issue(ca, profile, name, hosts, datetime.now(UTC), days)
            _write(_in(folder), bundle.file_name(profile, name), pair, force)


_leaf_command(PROFILES["server"], "member NAME's client port")
_leaf_command(PROFILES["peer"], "member NAME's peer port; it serves and dials")
_leaf_command(PROFILES["client"], "the user NAME")


@group.command("show", help="Show certificates: FILES, or all in the folder. Exit status 1 if one has ended.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILES]...")
@_folder_option
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def show(paths: tuple[Path, ...], folder: Path | None, form: str) -> None:
    with _complaints():
        chosen = list(paths) or sorted(_in(folder).glob("*.crt"))
        if not chosen:
            raise click.ClickException(f"there are no certificates in {_in(folder)}: `keelson up` or `keelson certs ca` makes them")
        now = datetime.now(UTC)
        revoked = revocation.serials(_in(folder))
        described = [each for path in chosen for each in describe(path, now, revoked)]
    if form == "json":
        click.echo(output.as_json(described))
    else:
        colour = output.colour_wanted()
        rows = [
            [
                each["file"],
                each["name"],
                ",".join(each["uses"]) or "-",
                ",".join(each["hosts"]) or "-",
                each["issuer"],
                each["serial"][:SERIAL_SHOWN],
                each["not_after"][:10],
                output.paint("revoked", output.RED, colour) if each["revoked"] else _days_left(each["days_left"], colour),
            ]
            for each in described
        ]
        click.echo(output.table(HEADERS, rows, colour=colour))
    if any(each["days_left"] < 0 for each in described):
        raise SystemExit(1)


def describe(path: Path, now: datetime, revoked: Collection[int] = ()) -> list[dict[str, Any]]:
    """Each certificate in the file: an authority's has two while it is replaced."""
    return [
        {
            "file": str(path),
            "name": authority.name_of(certificate.subject),
            "issuer": authority.name_of(certificate.issuer),
            "uses": authority.uses_of(certificate),
            "hosts": authority.hosts_of(certificate),
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "days_left": (certificate.not_valid_after_utc - now).days,  # rounds down: -1 from the first second after the end
            "serial": f"{certificate.serial_number:x}",
            "revoked": certificate.serial_number in revoked,
        }
        for certificate in files.read_certificates(path)
    ]


@group.command("renew", help="Make certificates anew, with the same names, hosts and uses: NAMES such as server-m1, or all.")
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@_folder_option
def renew(names: tuple[str, ...], folder: Path | None) -> None:
    with _complaints():
        where = _in(folder)
        ca = files.read(where, bundle.CA)
        for stem in names or bundle.leaves(where):
            pair = bundle.renew(where, _stem(stem), ca, datetime.now(UTC))
            click.echo(f"{files.certificate_path(where, _stem(stem))} valid until {pair.certificate.not_valid_after_utc:%Y-%m-%d}")
    click.echo("running members take them within a second; a client when it starts or looks again", err=True)


@group.command("revoke", help="Take certificates back: NAMES such as client-alice, or files. Writes the list, ca.crl.")
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@click.option("--serial", "given", multiple=True, metavar="HEX", help="By its serial number, when the file is gone; repeatable.")
@_folder_option
def revoke(names: tuple[str, ...], given: tuple[str, ...], folder: Path | None) -> None:
    if not names and not given:
        raise click.ClickException("say which: a NAME such as client-alice, or --serial")
    with _complaints():
        where = _in(folder)
        is_first = not revocation.list_path(where).exists()
        serials = [_serial(text) for text in given]
        serials += [files.read_certificate(_certificate_path(where, name)).serial_number for name in names]
        everything = revocation.revoke(where, serials, datetime.now(UTC))
    click.echo(f"{revocation.list_path(where)}\n{len(everything)} certificates are revoked")
    if is_first:
        click.echo("members that were started without a list do not look at it: `keelson down` and `keelson up`, one time", err=True)


def _serial(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise click.ClickException(f"{text!r} is no serial number in hexadecimal digits") from None


def _certificate_path(folder: Path, name: str) -> Path:
    return Path(name) if name.endswith((".crt", ".pem")) else files.certificate_path(folder, _stem(name))


def _stem(name: str) -> str:
    return name.removesuffix(".crt")


@group.command("rotate", help="Put a new authority in the place of the old one, while members and clients go on.")
@click.option(
    "--step", type=click.Choice([each.value for each in Step]), default=None, help="Only this step, the next one.  [default: all that are left]"
)
@click.option("--overlap", "overlap_s", type=Duration(), default=OVERLAP_S, show_default="5s", help="How long clients have to read the files again.")
@click.option("--drill", "is_drill", is_flag=True, help="Write meanwhile, and tell what the writers noticed. Exit status 1 if a write failed.")
@click.option("--writers", default=3, show_default=True, type=click.IntRange(1, 100), help="Clients that write during a drill.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_folder_option
def rotate(step: str | None, overlap_s: float, is_drill: bool, writers: int, form: str, folder: Path | None) -> None:
    with _complaints():
        where = _in(folder)
        if is_drill:
            outcomes = rotate_drill.run(where, writers, overlap_s, lambda text: click.echo(text, err=True))
            click.echo(rotate_drill.as_json(outcomes) if form == "json" else rotate_drill.as_table(outcomes, output.colour_wanted()))
            if any(each.failed for each in outcomes):
                raise SystemExit(1)
            return
        due = rotation.next_step(where)
        if step not in (None, due.value):
            raise click.ClickException(f"the next step is {due.value}, not {step}")
        rotating.take_all(where, Step.FINISH if step is None else due, overlap_s, click.echo)


def _days_left(days: int, colour: bool) -> str:
    if days < 0:
        return output.paint("ended", output.RED, colour)
    return output.paint(f"{days}", output.YELLOW, colour) if days < RENEW_BEFORE_DAYS else f"{days}"


def _write(folder: Path, name: str, pair: Pair, force: bool) -> None:
    try:
        files.write(folder, name, pair, overwrite=force)
    except FileExistsError as error:
        raise click.ClickException(f"{error}; --force overwrites it") from None
    end = pair.certificate.not_valid_after_utc
    click.echo(f"{files.certificate_path(folder, name)}\n{files.key_path(folder, name)}\nvalid until {end:%Y-%m-%d}")


def _hint(error: FileNotFoundError) -> str:
    return ": `keelson certs ca` makes an authority" if Path(str(error.filename)).stem == bundle.CA else ""


@contextmanager
def _complaints() -> Iterator[None]:
    """Turns what can go wrong with names and files into click's one-line errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise click.ClickException(f"{error.filename} is missing{_hint(error)}") from None
    except (InvalidRequest, Unusable, Refused, OSError) as error:
        raise click.ClickException(str(error)) from None
