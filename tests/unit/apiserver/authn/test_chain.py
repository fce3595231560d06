import asyncio
import base64
from typing import Any

import pytest

from apiserver.authn.chain import Authenticator, Shown
from apiserver.authn.tokens import BootstrapTokens, StaticTokens, read_file
from apiserver.config_files import Unusable
from apiserver.machinery.status import ApiError
from apiserver.request import ANONYMOUS, User
from tests.unit.apiserver.cluster import Cluster

NOW = 1_800_000_000.0


def certificate(*names: tuple[str, str]) -> dict[str, Any]:
    return {"subject": tuple(((key, value),) for key, value in names)}


def ask(authenticator: Authenticator, **shown: Any) -> User:
    return asyncio.run(authenticator.authenticate(Shown(**shown)))


def unauthorized(authenticator: Authenticator, **shown: Any) -> None:
    with pytest.raises(ApiError) as told:
        ask(authenticator, **shown)
    assert told.value.status()["message"] == "Unauthorized"


def test_a_certificate_names_user_and_groups():
    found = ask(Authenticator(), certificate=certificate(("organizationName", "dev"), ("organizationName", "ops"), ("commonName", "ann")), der=b"x")
    assert (found.name, found.groups) == ("ann", ("dev", "ops", "system:authenticated"))
    assert found.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


def test_a_certificate_without_a_name_is_nobody():
    assert ask(Authenticator(), certificate=certificate(("organizationName", "system:masters"))) == ANONYMOUS
    assert ask(Authenticator(), certificate=certificate(("commonName", "x" * 2000))) == ANONYMOUS


def test_the_certificate_goes_before_the_token():
    assert ask(Authenticator(), certificate=certificate(("commonName", "ann")), authorization="Bearer rubbish").name == "ann"


def test_nothing_shown():
    assert ask(Authenticator()) == ANONYMOUS
    assert ask(Authenticator(), authorization="Basic YTpi") == ANONYMOUS
    unauthorized(Authenticator(anonymous=False))


def test_static_tokens(tmp_path):
    path = tmp_path / "tokens.csv"
    path.write_text('t1,ann,1,"dev,ops"\n\nt2,bob,2\n')
    authenticator = Authenticator(static=StaticTokens(read_file(path)))
    assert ask(authenticator, authorization="Bearer t1").groups == ("dev", "ops", "system:authenticated")
    assert ask(authenticator, authorization="bearer  t2 ").name == "bob"
    unauthorized(authenticator, authorization="Bearer t3")
    path.write_text("only,two\n")
    with pytest.raises(Unusable, match="line 1"):
        read_file(path)


def test_a_token_in_a_websocket_s_subprotocol():
    authenticator = Authenticator(static=StaticTokens({}))
    good = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"t").rstrip(b"=").decode()
    unauthorized(authenticator, protocols=f"v5.channel.k8s.io, {good}")
    unauthorized(authenticator, protocols="base64url.bearer.authorization.k8s.io.!!!")


def secret(**changes: str) -> dict[str, Any]:
    data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", **changes}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": encoded}


def bootstrap(found: dict[str, Any]) -> Authenticator:
    return Authenticator(bootstrap=BootstrapTokens(Cluster(secrets=[found]), lambda: NOW))


def test_bootstrap_tokens():
    found = ask(bootstrap(secret(**{"auth-extra-groups": "system:bootstrappers:kubeadm"})), authorization="Bearer abcdef.0123456789abcdef")
    assert found.name == "system:bootstrap:abcdef"
    assert found.groups == ("system:bootstrappers", "system:bootstrappers:kubeadm", "system:authenticated")


@pytest.mark.parametrize(
    "changes",
    [
        {"token-secret": "0123456789abcdeg"},
        {"token-id": "abcdeg"},
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "soon"},
        {"usage-bootstrap-authentication": "false"},
        {"auth-extra-groups": "system:masters"},
    ],
)
def test_bootstrap_tokens_that_are_not_good(changes):
    unauthorized(bootstrap(secret(**changes)), authorization="Bearer abcdef.0123456789abcdef")


def test_bootstrap_secrets_of_another_type_or_going_are_none():
    unauthorized(bootstrap({**secret(), "type": "Opaque"}), authorization="Bearer abcdef.0123456789abcdef")
    going = secret()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    unauthorized(bootstrap(going), authorization="Bearer abcdef.0123456789abcdef")
