"""The frame of a program: its flags, and its pages over real sockets."""

import argparse
import ssl

import aiohttp
import pytest

from agents.kit.flags import Flags, comma_list, duration_s, switch
from agents.kit.runner import Agent
from agents.kit.serving import Address, Pages, serving
from tests.support.ports import free_port


@pytest.mark.parametrize(("text", "seconds"), [("15s", 15), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0", 0), ("10us", 1e-5), ("-1m", -60)])
def test_durations_as_go_writes_them(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "15", "s", "1x", "1m 30s", "--1s"])
def test_what_is_no_duration(text):
    with pytest.raises(argparse.ArgumentTypeError):
        duration_s(text)


def test_switches_and_lists():
    flags = Flags("x", "")
    flags.switch("--on", True, "")
    flags.list("--names", ["a"], "")
    assert flags.parse_args(["--on=false", "--names=b,-c,*"]).names == ["b", "-c", "*"]
    assert flags.parse_args(["--on"]).on and not flags.parse_args(["--on", "false"]).on
    assert comma_list("") == [] and switch("T")


@pytest.mark.parametrize("wrong", [["--unknown"], ["--kube", "x"], ["--leader-elect=perhaps"], ["--leader-elect-lease-duration=soon"]])
def test_flags_that_do_not_exist_are_refused(wrong, capsys):
    agent = Agent("kube-thing", "", port=1, lease="thing")
    with pytest.raises(SystemExit) as ended:
        agent.flags.parse_args(wrong)
    assert ended.value.code == 2 and "usage" in capsys.readouterr().err


def test_terms_come_from_the_flags_and_are_checked():
    agent = Agent("kube-thing", "", port=1, lease="thing")
    terms = agent.terms(agent.flags.parse_args(["--leader-elect-lease-duration=20s", "--leader-elect-resource-name=other"]))
    assert (terms.enabled, terms.lease_s, terms.name, terms.namespace) == (True, 20.0, "other", "kube-system")
    with pytest.raises(ValueError, match="lease-duration"):
        agent.terms(agent.flags.parse_args(["--leader-elect-lease-duration=5s"]))
    assert not agent.terms(agent.flags.parse_args(["--leader-elect=false", "--leader-elect-lease-duration=5s"])).enabled


def test_without_a_kubeconfig_outside_a_pod_it_says_so(capsys, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert Agent("kube-thing", "").main(None, []) == 2
    assert "--kubeconfig" in capsys.readouterr().err


async def fetched(port, path, tls):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        scheme = "https" if tls else "http"
        async with session.get(f"{scheme}://127.0.0.1:{port}{path}", ssl=context) as answer:
            return answer.status, await answer.text()


@pytest.mark.parametrize("tls", [True, False])
def test_health_and_metrics(tls):
    import asyncio

    from prometheus_client.metrics_core import GaugeMetricFamily

    async def work():
        pages, port = Pages(), free_port()
        pages.metrics.append(lambda: [GaugeMetricFamily("things", "How many.", 3)])
        trouble = [""]
        pages.readiness["caches"] = lambda: trouble[0]
        async with serving(pages, Address("127.0.0.1", port, tls)):
            assert await fetched(port, "/healthz", tls) == (200, "ok")
            assert await fetched(port, "/readyz?verbose", tls) == (200, "[+]ping ok\n[+]caches ok\nreadyz check passed\n")
            assert "things 3" in (await fetched(port, "/metrics", tls))[1]
            trouble[0] = "not synced"
            assert await fetched(port, "/readyz", tls) == (500, "[+]ping ok\n[-]caches failed: not synced\nreadyz check failed\n")
            assert (await fetched(port, "/livez", tls))[0] == 200
            assert (await fetched(port, "/readyz?exclude=caches", tls))[0] == 200

    asyncio.run(work())
