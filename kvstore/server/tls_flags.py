"""What the command line says about certificates, checked and read once, so that what cannot work is refused at the start."""

from collections.abc import Callable
from pathlib import Path

from kvstore.server import ciphers, tls
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.certificates import Rules
from kvstore.server.flags import is_true
from kvstore.server.tls import TlsSettings

_ALPN = {"client": ("h2", "http/1.1"), "peer": ()}
_FILES = ("cert-file", "key-file", "trusted-ca-file", "crl-file", "client-cert-file", "client-key-file")


def settings(text: Callable[[str], str], port: str, data_dir: Path, notes: list[str]) -> TlsSettings:
    """Of the "client" or the "peer" port. Raises ConfigurationError.

    Files of --auto-tls are named, not made: that is for the start (`selfsigned.ensure`).
    """
    prefix = "peer-" if port == "peer" else ""
    auth_flag = f"{prefix}client-cert-auth"
    paths = {name: text(_flag(prefix, name)) for name in _FILES}
    _check_pairs(prefix, paths)
    least, most, suites = text("tls-min-version"), text("tls-max-version"), tuple(filter(None, text("cipher-suites").split(",")))
    try:
        ciphers.check_versions(least, most, suites)
        names = ciphers.openssl_names(suites)
    except ciphers.Unknown as error:
        raise ConfigurationError(str(error)) from error
    is_auto = is_true(text(f"{prefix}auto-tls"))
    if is_auto and paths["cert-file"]:
        notes.append(f"ignoring {port} auto TLS since certs given")
        is_auto = False
    if is_auto:
        from kvstore.server import selfsigned  # which imports a library that takes 30 ms

        paths["cert-file"], paths["key-file"] = map(str, selfsigned.paths(data_dir, port))
        if int(text("self-signed-cert-validity"), 0) < 1:
            raise ConfigurationError("selfSignedCertValidity is invalid,it should be greater than 0")
    found = TlsSettings(
        cert=paths["cert-file"],
        key=paths["key-file"],
        ca=paths["trusted-ca-file"],
        require_client=is_true(text(auth_flag)),
        crl=paths["crl-file"],
        rules=_rules(text, port),
        dial_cert=paths["client-cert-file"] if port == "peer" else "",
        dial_key=paths["client-key-file"] if port == "peer" else "",
        check_remote=port == "peer" and not is_true(text("peer-skip-client-san-verification")),
        least=least,
        most=most,
        suites=names,
        alpn=_ALPN[port],
        self_signed=is_auto,
    )
    if found.require_client and not found.ca:
        raise ConfigurationError(f"--{auth_flag} needs --{prefix}trusted-ca-file to check certificates by")
    if port == "client" and paths["client-cert-file"]:
        notes.append("--client-cert-file has no effect here: the gateway calls the services inside the process, not through the client port")
    if not is_auto and any(paths.values()):
        # Without files there is nothing to try, and reading the system's authorities takes 38 ms.
        try:
            tls.load(found)
        except tls.Unusable as error:
            raise ConfigurationError(str(error)) from error
    return found


def _flag(prefix: str, name: str) -> str:
    return "client-crl-file" if (prefix, name) == ("", "crl-file") else prefix + name


def _check_pairs(prefix: str, paths: dict[str, str]) -> None:
    if bool(paths["cert-file"]) != bool(paths["key-file"]):
        raise ConfigurationError(f"--{prefix}cert-file and --{prefix}key-file belong together: give both or none")
    if bool(paths["client-cert-file"]) != bool(paths["client-key-file"]):
        raise ConfigurationError(
            f"ClientKeyFile and ClientCertFile must both be present or both absent: key: {paths['client-key-file']}, "
            f"cert: {paths['client-cert-file']} (--{prefix}client-key-file and --{prefix}client-cert-file)"
        )
    for name, path in paths.items():
        if path and not Path(path).is_file():
            raise ConfigurationError(f"{path}: no such file (given by --{_flag(prefix, name)})")


def _rules(text: Callable[[str], str], port: str) -> Rules:
    names = tuple(filter(None, text(f"{port}-cert-allowed-cn").split(",")))
    hosts = tuple(filter(None, text(f"{port}-cert-allowed-hostname").split(",")))
    if names and hosts:
        raise ConfigurationError(f"AllowedCNs and AllowedHostnames are mutually exclusive (cns={list(names)}, hostnames={list(hosts)})")
    return Rules(names, hosts)
