"""`keelson certs`: an authority and certificates by hand, beside those that `up` makes by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from certs import authority, bundle, files
from certs.authority import InvalidRequest, Pair
from certs.files import Unusable
from certs.profiles import CA_DAYS, LEAF_DAYS, LOOPBACK, PROFILES, RENEW_BEFORE_DAYS, Profile
from keelson.cogs import output
from keelson.launcher.cluster import certs_folder
from keelson.launcher.options import DATA_DIR

HEADERS = ("FILE", "NAME", "USES", "HOSTS", "ISSUER", "ENDS", "DAYS LEFT")


@click.group("certs", help="Make and show certificates: ca, server, peer, client, show.")
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
        described = [describe(path, now) for path in chosen]
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
                each["not_after"][:10],
                _days_left(each["days_left"], colour),
            ]
            for each in described
        ]
        click.echo(output.table(HEADERS, rows, colour=colour))
    if any(each["days_left"] < 0 for each in described):
        raise SystemExit(1)


def describe(path: Path, now: datetime) -> dict[str, Any]:
    certificate = files.read_certificate(path)
    end = certificate.not_valid_after_utc
    return {
        "file": str(path),
        "name": authority.name_of(certificate.subject),
        "issuer": authority.name_of(certificate.issuer),
        "uses": authority.uses_of(certificate),
        "hosts": authority.hosts_of(certificate),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": end.isoformat(),
        "days_left": (end - now).days,  # rounds down: -1 from the first second after the end
        "serial": f"{certificate.serial_number:x}",
    }


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


@contextmanager
def _complaints() -> Iterator[None]:
    """Turns what can go wrong with names and files into click's one-line errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise click.ClickException(f"{error.filename} is missing: `keelson certs ca` makes an authority") from None
    except (InvalidRequest, Unusable, OSError) as error:
        raise click.ClickException(str(error)) from None
