"""`keelson image`: the local store of images that the nodes of this machine start their containers from."""

from pathlib import Path

import click

from agents.kubelet.oci import load, toolbox
from agents.kubelet.oci.reference import InvalidReference
from agents.kubelet.oci.store import BadImage, Store
from keelson.cogs import output

DEFAULT_STORE = Path("data/images")
"""That of the cluster which `keelson up` makes here."""


@click.group("image")
@click.option(
    "--store",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STORE,
    show_default=True,
    envvar="KEELSON_IMAGE_STORE",
    help="Folder of the store.",
)
@click.pass_context
def image(context: click.Context, folder: Path) -> None:
    """Images in the local store: no registry is ever asked."""
    try:
        context.obj = Store(folder)
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from None


@image.command("load")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="Name for an image whose archive names none.")
@click.pass_obj
def load_command(store: Store, paths: tuple[Path, ...], name: str) -> None:
    """Load OCI archives or layouts, or Docker archives."""
    for path in paths:
        try:
            for loaded in load.load(store, path, name):
                click.echo(loaded)
        except (BadImage, InvalidReference) as error:
            raise click.ClickException(str(error)) from None


@image.command("list")
@click.pass_obj
def list_command(store: Store) -> None:
    """Names, ids and sizes."""
    rows = [(name, each.id.removeprefix("sha256:")[:12], f"{each.size_bytes / 1e6:.1f} MB") for each in store.images() for name in each.names]
    click.echo(output.table(("NAME", "ID", "SIZE"), sorted(rows)))


@image.command("build")
@click.option("--again", is_flag=True, help="Also those that are there.")
@click.pass_obj
def build_command(store: Store, again: bool) -> None:
    """Make keelson/toolbox and keelson/web out of this machine's own files."""
    for name in toolbox.build_all(store, again=again):
        click.echo(name)


@image.command("rm")
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def rm_command(store: Store, names: tuple[str, ...]) -> None:
    """Remove names; what no name needs any more goes with them."""
    for name in names:
        try:
            if not store.remove(name):
                raise click.ClickException(f"{name}: no such image")
        except InvalidReference as error:
            raise click.ClickException(str(error)) from None
