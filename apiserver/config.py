"""The command line: upstream's flags, as far as they mean something here (kube-apiserver --help). Others are refused by name."""

import argparse
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from apiserver.filters.deadline import duration_s
from apiserver.machinery.status import ApiError
from kvstore.client.endpoints import TlsFiles

COMPONENTS = (("controller-manager", "https://127.0.0.1:10257/healthz"), ("scheduler", "https://127.0.0.1:10259/healthz"))
"""Where upstream expects them, on the machine of the API server."""


class ConfigurationError(Exception):
    """The command line cannot be carried out; the text says which flag and why."""


class Config(Struct, frozen=True):
    etcd_servers: tuple[str, ...]
    etcd_cafile: str
    etcd_certfile: str
    etcd_keyfile: str
    etcd_compaction_s: float
    event_ttl_s: float
    bind_addresses: tuple[str, ...]
    secure_port: int
    advertise_address: str
    tls_cert_file: str
    tls_private_key_file: str
    cert_dir: str
    client_ca_file: str
    token_auth_file: str
    anonymous_auth: bool
    enable_bootstrap_token_auth: bool
    authorization_modes: tuple[str, ...]
    service_account_key_files: tuple[str, ...]
    service_account_signing_key_file: str
    service_account_issuer: str
    service_account_max_token_expiration_s: float
    api_audiences: tuple[str, ...]
    enable_admission_plugins: tuple[str, ...]
    disable_admission_plugins: tuple[str, ...]
    admission_control_config_file: str
    encryption_provider_config: str
    encryption_provider_config_automatic_reload: bool
    audit_policy_file: str
    audit_log_path: str
    audit_log_maxsize_mb: int
    audit_log_maxbackup: int
    service_cluster_ip_range: str
    service_node_port_range: tuple[int, int]
    kubelet_certificate_authority: str
    kubelet_client_certificate: str
    kubelet_client_key: str
    component_health: dict[str, tuple[str, ...]]
    """Of the components that componentstatuses tell of, the health pages of their instances."""
    max_requests_inflight: int
    max_mutating_requests_inflight: int
    shutdown_delay_s: float
    request_timeout_s: float
    previews: bool
    log_level: str

    @property
    def store_tls(self) -> TlsFiles | None:
        return TlsFiles(self.etcd_cafile, self.etcd_certfile, self.etcd_keyfile) if self.etcd_cafile or self.etcd_certfile else None


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _duration(text: str) -> float:
    try:
        return duration_s(text)
    except ApiError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 5m0s") from None


def _ports(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    if not (low.isdigit() and high.isdigit() and 0 < int(low) <= int(high) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of ports such as 30000-32767")
    return int(low), int(high)


def _page(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if not name or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=URL such as {'='.join(COMPONENTS[0])}")
    return name, url


def _by_name(pages: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(url for each, url in pages if each == name) for name, _ in pages}


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser("apiserver", description="Kubernetes' API over the store. Flags are kube-apiserver's.", allow_abbrev=False)
    add = flags.add_argument
    add("--etcd-servers", type=_listed, required=True, help="endpoints of the store, separated by commas")
    add("--etcd-cafile", default="")
    add("--etcd-certfile", default="")
    add("--etcd-keyfile", default="")
    add("--etcd-compaction-interval", type=_duration, default=300.0, help="between compactions of the store; 0 leaves it to others")
    add("--event-ttl", type=_duration, default=3600.0, help="how long events are kept")
    add("--bind-address", action="append", help="address to listen on; may be given several times")
    add("--secure-port", type=int, default=6443)
    add("--advertise-address", default="", help="where the cluster finds this server; otherwise the first address it listens on")
    add("--tls-cert-file", default="")
    add("--tls-private-key-file", default="")
    add("--cert-dir", default="/var/run/kubernetes", help="where a certificate is made if none is given")
    add("--client-ca-file", default="", help="authority of client certificates")
    add("--token-auth-file", default="")
    add("--anonymous-auth", type=_flag, nargs="?", const=True, default=True)
    add("--enable-bootstrap-token-auth", type=_flag, nargs="?", const=True, default=False)
    add("--authorization-mode", type=_listed, default=("Node", "RBAC"))
    add("--service-account-key-file", action="append", default=[])
    add("--service-account-signing-key-file", default="")
    add("--service-account-issuer", default="https://kubernetes.default.svc.cluster.local")
    add("--service-account-max-token-expiration", type=_duration, default=0.0)
    add("--api-audiences", type=_listed, default=())
    add("--enable-admission-plugins", type=_listed, default=())
    add("--disable-admission-plugins", type=_listed, default=())
    add("--admission-control-config-file", default="")
    add("--encryption-provider-config", default="")
    add("--encryption-provider-config-automatic-reload", type=_flag, nargs="?", const=True, default=False)
    add("--audit-policy-file", default="")
    add("--audit-log-path", default="")
    add("--audit-log-maxsize", type=int, default=0, help="megabytes")
    add("--audit-log-maxbackup", type=int, default=0)
    add("--service-cluster-ip-range", default="10.96.0.0/16")
    add("--service-node-port-range", type=_ports, default=(30000, 32767))
    add("--kubelet-certificate-authority", default="")
    add("--kubelet-client-certificate", default="")
    add("--kubelet-client-key", default="")
    add("--component-health", action="append", type=_page, help="NAME=URL of a component's health page, for componentstatuses; one of each instance")
    add("--max-requests-inflight", type=int, default=400)
    add("--max-mutating-requests-inflight", type=int, default=200)
    add("--shutdown-delay-duration", type=_duration, default=0.0)
    add("--request-timeout", type=_duration, default=60.0)
    add("--runtime-config", default="api/all=true", help="api/all=true serves alpha and beta versions, api/ga=true stable ones alone")
    add("--log-level", default="info")
    return flags


def load(arguments: Sequence[str]) -> Config:
    """Raises ConfigurationError; exits for --help and for flags that do not exist, as argparse does."""
    given = parser().parse_args(list(arguments))
    try:
        ipaddress.ip_network(given.service_cluster_ip_range)
        for address in given.bind_address or ():
            ipaddress.ip_address(address)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    for name in (
        "tls_cert_file",
        "tls_private_key_file",
        "client_ca_file",
        "etcd_cafile",
        "etcd_certfile",
        "etcd_keyfile",
        "encryption_provider_config",
    ):
        path = getattr(given, name)
        if path and not Path(path).is_file():
            raise ConfigurationError(f"--{name.replace('_', '-')}: there is no file {path}")
    if bool(given.tls_cert_file) != bool(given.tls_private_key_file):
        raise ConfigurationError("--tls-cert-file and --tls-private-key-file go together")
    if given.runtime_config not in ("api/all=true", "api/ga=true"):
        raise ConfigurationError(f"--runtime-config {given.runtime_config}: expected api/all=true or api/ga=true")
    addresses = tuple(given.bind_address or ["0.0.0.0"])
    return Config(
        etcd_servers=given.etcd_servers,
        etcd_cafile=given.etcd_cafile,
        etcd_certfile=given.etcd_certfile,
        etcd_keyfile=given.etcd_keyfile,
        etcd_compaction_s=given.etcd_compaction_interval,
        event_ttl_s=given.event_ttl,
        bind_addresses=addresses,
        secure_port=given.secure_port,
        advertise_address=given.advertise_address or _advertised(addresses),
        tls_cert_file=given.tls_cert_file,
        tls_private_key_file=given.tls_private_key_file,
        cert_dir=given.cert_dir,
        client_ca_file=given.client_ca_file,
        token_auth_file=given.token_auth_file,
        anonymous_auth=given.anonymous_auth,
        enable_bootstrap_token_auth=given.enable_bootstrap_token_auth,
        authorization_modes=given.authorization_mode,
        service_account_key_files=tuple(given.service_account_key_file),
        service_account_signing_key_file=given.service_account_signing_key_file,
        service_account_issuer=given.service_account_issuer,
        service_account_max_token_expiration_s=given.service_account_max_token_expiration,
        api_audiences=given.api_audiences or (given.service_account_issuer,),
        enable_admission_plugins=given.enable_admission_plugins,
        disable_admission_plugins=given.disable_admission_plugins,
        admission_control_config_file=given.admission_control_config_file,
        encryption_provider_config=given.encryption_provider_config,
        encryption_provider_config_automatic_reload=given.encryption_provider_config_automatic_reload,
        audit_policy_file=given.audit_policy_file,
        audit_log_path=given.audit_log_path,
        audit_log_maxsize_mb=given.audit_log_maxsize,
        audit_log_maxbackup=given.audit_log_maxbackup,
        service_cluster_ip_range=given.service_cluster_ip_range,
        service_node_port_range=given.service_node_port_range,
        kubelet_certificate_authority=given.kubelet_certificate_authority,
        kubelet_client_certificate=given.kubelet_client_certificate,
        kubelet_client_key=given.kubelet_client_key,
        component_health=_by_name(given.component_health or COMPONENTS),
        max_requests_inflight=given.max_requests_inflight,
        max_mutating_requests_inflight=given.max_mutating_requests_inflight,
        shutdown_delay_s=given.shutdown_delay_duration,
        request_timeout_s=given.request_timeout,
        previews=given.runtime_config == "api/all=true",
        log_level=given.log_level,
    )


def _advertised(addresses: Sequence[str]) -> str:
    """The first that others can reach, or loopback."""
    return next((each for each in addresses if not ipaddress.ip_address(each).is_loopback and each not in ("0.0.0.0", "::")), "127.0.0.1")
