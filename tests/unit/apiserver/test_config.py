"""The command line."""

import pytest

from apiserver.config import ConfigurationError, load

STORE = "--etcd-servers=http://127.0.0.1:2379,http://127.0.0.1:2380"


def test_defaults_are_upstreams():
    config = load([STORE])
    assert config.etcd_servers == ("http://127.0.0.1:2379", "http://127.0.0.1:2380")
    assert (config.secure_port, config.bind_addresses, config.authorization_modes) == (6443, ("0.0.0.0",), ("Node", "RBAC"))
    assert (config.etcd_compaction_s, config.event_ttl_s, config.service_node_port_range) == (300, 3600, (30000, 32767))
    assert (config.max_requests_inflight, config.max_mutating_requests_inflight) == (400, 200)


def test_several_addresses_and_the_one_to_be_found_at():
    config = load([STORE, "--bind-address=127.0.0.1", "--bind-address=172.30.0.1"])
    assert (config.bind_addresses, config.advertise_address) == (("127.0.0.1", "172.30.0.1"), "172.30.0.1")


def test_components_are_where_upstream_has_them_or_where_is_said():
    assert load([STORE]).component_health["scheduler"] == ("https://127.0.0.1:10259/healthz",)
    given = load([STORE, *(f"--component-health=scheduler=https://127.0.0.1:{port}/healthz" for port in (1, 2))]).component_health
    assert given == {"scheduler": ("https://127.0.0.1:1/healthz", "https://127.0.0.1:2/healthz")}


@pytest.mark.parametrize(
    "flag",
    [
        "--service-cluster-ip-range=10.96.0.0/99",
        "--bind-address=here",
        "--tls-cert-file=/nowhere",
        "--client-ca-file=/nowhere",
        "--runtime-config=apps/v1=false",
    ],
)
def test_what_cannot_be_carried_out_is_refused(flag):
    with pytest.raises(ConfigurationError):
        load([STORE, flag])


@pytest.mark.parametrize("flags", [[], [STORE, "--no-such-flag"], [STORE, "--service-node-port-range=9-1"], [STORE, "--event-ttl=soon"]])
def test_what_is_no_flag_ends_with_two(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        load(flags)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
