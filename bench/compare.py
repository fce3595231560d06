"""Keelson and etcd under the same load, in one run on one machine: `make bench`.

Rounds alternate (etcd, Keelson, etcd, Keelson, ...), each on a fresh three-member cluster with empty data directories; a figure is the median over
the rounds. Members and generator share the machine's processors, so a figure is what the whole machine gives, and peers that burn more
processor time get less done: that is meant. Raw results go to bench/results/; `python -m bench.report` makes docs/BENCHMARKS.md of them.
"""

import argparse
import datetime
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import uvloop

from bench import lifecycle, results
from bench.cases import cases, run_case
from bench.load.generator import run_load
from bench.load.requests import VALUE_BYTES, loading
from bench.machine import cpu_s, describe, resident_bytes
from bench.peers import pysyncobj, servers
from bench.peers.servers import PEERS, Missing, version
from bench.results import Case, Fact, Results, Sample
from tests.support import tls as certificates
from tests.support.kinds import Kind
from tests.support.members import Cluster
from tests.support.tls import TlsFiles

MEMBERS = 3
DATA = Path(__file__).parent.parent / "build"


def client_tls(files: TlsFiles | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.client_cert, files.client_key)
    context.set_alpn_protocols(["h2"])
    return context


def measure_peer(kind: Kind, number: int, todo: Iterable[Case], options: argparse.Namespace, seeds: Iterator[int]) -> Iterator[Sample]:
    """All cases on a fresh cluster."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-", dir=DATA) as folder:
        files = certificates.make(Path(folder) / "tls") if options.tls else None
        context = client_tls(files)
        with Cluster(kind, Path(folder), MEMBERS, files) as cluster:
            leader = cluster.leader()
            members = [leader, *cluster.followers()]
            processes = [member.process.pid for member in members if member.process is not None]
            load, requests = loading()
            loaded = run_load([leader.endpoint], load, in_flight=100, connections=5, requests=requests, tls=context)
            assert not loaded.errors, f"{kind.name} refused keys: {loaded.errors}"
            for case in todo:
                endpoints = [leader.endpoint] if case.at == "leader" else [member.endpoint for member in members]
                measured = uvloop.run(
                    run_case(
                        case,
                        endpoints,
                        seconds=options.seconds,
                        warm_up_s=options.warm_up,
                        seed=next(seeds),
                        tls=context,
                        meter=lambda: [cpu_s(process) for process in processes],
                    )
                )
                yield Sample(kind.name, number, case, measured, [resident_bytes(process) for process in processes])


def table(done: Results) -> str:
    """The figures, aligned for a terminal. ±%: the greatest distance of a round from the median."""
    peers = list(done.peers)
    head = ["operation", "in flight", "at"]
    for peer in peers:
        head += [f"{peer}/s", "±%", "p50 ms", "p99 ms"]
    rows = [head + (["ratio"] if len(peers) == 2 else [])]
    for case in done.cases():
        row = [case.operation, str(case.in_flight), case.at]
        rates = []
        for peer in peers:
            rates.append(done.median(peer, case, "per_second"))
            row += [f"{rates[-1]:,.0f}", f"{100 * done.spread(peer, case):.0f}"]
            row += [f"{done.median(peer, case, field):.2f}" for field in ("p50_ms", "p99_ms")]
        rows.append(row + ([f"{rates[0] / rates[1]:.2f}"] if len(peers) == 2 and rates[1] else []))
    return _aligned(rows, words=(0, 2))


def facts_table(done: Results) -> str:
    """The same for figures that are no rates under load; the ratio is that of the figures, whichever way is better."""
    peers = list(done.peers)
    rows = [["", *peers, "", *(["ratio"] if len(peers) == 2 else [])]]
    for name in done.fact_names():
        told = [done.fact(peer, name) for peer in peers]
        rows.append([name, *("" if value is None else f"{value:,.2f}" for value in told), done.unit(name)])
        if len(peers) == 2:
            rows[-1].append(f"{told[0] / told[1]:.2f}" if told[0] is not None and told[1] else "")
    return _aligned(rows, words=(0, len(peers) + 1))


def _aligned(rows: list[list[str]], words: tuple[int, ...]) -> str:
    """The columns `words` to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(widths[at]) if at in words else cell.rjust(widths[at]) for at, cell in enumerate(row)) for row in rows)


def one_line(sample: Sample) -> str:
    case, measured = sample.case, sample.measured
    errors = f"  ERRORS {measured.errors}" if measured.errors else ""
    what = f"{case.operation}, {case.in_flight} in flight, {case.at}"
    members_us, generator_us = (1e6 * spent / max(1, measured.requests) for spent in (sum(measured.servers_cpu_s), measured.generator_cpu_s))
    return (
        f"  {sample.peer:<10}{what:<46}{measured.per_second:>10,.0f}/s  p50 {measured.p50_ms:.2f} ms"
        f"  cpu/request: members {members_us:.0f} us, generator {generator_us:.0f} us{errors}"
    )


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="keelson,etcd", help=f"of {', '.join(PEERS)}; or NAME=COMMAND for another build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="measured a case")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before that")
    parser.add_argument("--quick", action="store_true", help="one round of short cases: a look, not a measurement")
    parser.add_argument("--only", default="", help="only operations whose name contains this")
    parser.add_argument("--tls", action="store_true", help="mutual TLS on both ports instead of clear text")
    parser.add_argument("--keys", type=_steps, default=[1_000, 100_000, 1_000_000], help="steps of growth, as in 1000,100000")
    parser.add_argument("--pysyncobj", action="store_true", help="also replicated commands a second of pysyncobj, with its defaults and tuned")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.warm_up, options.keys = 1, 1.5, 0.5, [1_000, 20_000]
    return options


def _steps(text: str) -> list[int]:
    return sorted(int(part) for part in text.split(","))


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments)
    try:
        kinds = [servers.peer(text) for text in options.peers.split(",")]
    except Missing as missing:
        sys.exit(str(missing))
    DATA.mkdir(exist_ok=True)
    machine = describe(DATA)
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    print(f"{machine.processor}, {machine.cores} cores shared by {MEMBERS} members and the load generator; sync {machine.sync_ms:.2f} ms")
    if machine.load_before > 0.5:
        print(f"warning: load average {machine.load_before:.1f} before we began: others use this machine, figures will scatter")
    todo = [case for case in cases() if options.only in case.operation]
    seeds, samples, facts = count(1), list[Sample](), list[Fact]()
    for number in range(1, options.rounds + 1):
        for kind in reversed(kinds):
            print(f"round {number}: {kind.name}", flush=True)
            for sample in measure_peer(kind, number, todo, options, seeds):
                samples.append(sample)
                print(one_line(sample), flush=True)
        if not options.only:
            for kind in reversed(kinds):
                for fact in lifecycle.measure(kind, DATA, MEMBERS, options.keys, options.seconds, number):
                    facts.append(fact)
                    print(f"  {fact.peer:<10}{fact.name:<62}{fact.value:>12,.2f} {fact.unit}", flush=True)
    commands = pysyncobj.measure(DATA) if options.pysyncobj else {}
    versions = {kind.name: version(kind) for kind in kinds}
    head = (began, machine, versions, MEMBERS, options.tls, VALUE_BYTES, options.seconds, options.warm_up, options.rounds)
    done = Results(*head, samples, facts, commands)
    path = results.write(done)
    print(f"\n{table(done)}\n")
    if facts:
        print(f"{facts_table(done)}\n")
    for name, rate in commands.items():
        print(f"{name}: {rate:,.0f} replicated commands a second")
    print(f"raw results: {path}")


if __name__ == "__main__":
    main()
