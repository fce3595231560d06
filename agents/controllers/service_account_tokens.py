"""Tokens kept in Secrets of type kubernetes.io/service-account-token, for what cannot ask for one: whoever makes such a Secret gets it filled, and it
goes with its account (pkg/controller/serviceaccount/tokens_controller.go). Such a token has no end; the API server takes it as long as the Secret
that holds it and the account are there.
"""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agents.controllers.serviceaccount import SERVICE_ACCOUNTS
from agents.kit.actions import Action, Delete, Requeue, Update
from agents.kit.controller import Context, Controller
from agents.kit.times import to_seconds
from apiserver.machinery.objects import Object, annotations_of, is_terminating, metadata, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

SECRETS = resource("secrets")
TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME, ACCOUNT_UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
ISSUER = "kubernetes/serviceaccount"
CLAIM = "kubernetes.io/serviceaccount/"
PATIENCE_S = 10.0
"""How long a new Secret may be here before its account: two watches tell of them."""
ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

Sign = Callable[[dict[str, Any]], str]


def signer(path: str) -> Sign:
    """Signs claims with the key of --service-account-private-key-file. Raises ValueError."""
    try:
        key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"--service-account-private-key-file: {error}") from None
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = "RS256"
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ALGORITHMS:
        algorithm = ALGORITHMS[key.curve.name]
    else:
        raise ValueError(f"--service-account-private-key-file: {path} holds no RSA key and none of P-256, P-384 or P-521")
    return lambda claims: jwt.encode(claims, key, algorithm)


def claims_of(secret: Object, account: Object) -> dict[str, Any]:
    """(pkg/serviceaccount/legacy.go)"""
    namespace = namespace_of(secret)
    return {
        "iss": ISSUER,
        "sub": f"system:serviceaccount:{namespace}:{name_of(account)}",
        f"{CLAIM}namespace": namespace,
        f"{CLAIM}secret.name": name_of(secret),
        f"{CLAIM}service-account.name": name_of(account),
        f"{CLAIM}service-account.uid": uid_of(account),
    }


def filled(secret: Object, account: Object, certificates: str, sign: Sign) -> Object:
    """The Secret with everything that it is to hold: the same object if it does."""
    data = dict(secret.get("data") or {})
    if certificates:
        data["ca.crt"] = _encoded(certificates)
    data["namespace"] = _encoded(namespace_of(secret))
    if not data.get("token"):
        data["token"] = _encoded(sign(claims_of(secret, account)))
    annotations = {**annotations_of(secret), ACCOUNT_UID: uid_of(account)}
    if data == secret.get("data") and annotations == annotations_of(secret):
        return secret
    return {**secret, "metadata": {**secret["metadata"], "annotations": annotations}, "data": data}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class ServiceAccountTokens(Controller):
    """`certificates` is the PEM text by which the API server is known, if there is any."""

    name = "serviceaccount-token-controller"
    component = "tokens-controller"

    def __init__(self, context: Context, sign: Sign, certificates: str) -> None:
        self.sign = sign
        self.certificates = certificates
        super().__init__(context)

    def watch(self) -> None:
        self.secrets = self.watched(SECRETS, self.enqueue, field_selector=f"type={TYPE}")
        self.accounts = self.watched(SERVICE_ACCOUNTS, self._wake_secrets)

    def _wake_secrets(self, account: Object) -> None:
        for secret in self.secrets.all(namespace_of(account)):
            if annotations_of(secret).get(ACCOUNT_NAME) == name_of(account):
                self.enqueue(secret)

    def reconcile(self, key: str) -> Sequence[Action]:
        secret = self.secrets.get(key)
        if secret is None or secret.get("type") != TYPE or is_terminating(secret):
            return []
        name, uid = annotations_of(secret).get(ACCOUNT_NAME), annotations_of(secret).get(ACCOUNT_UID)
        account = self.accounts.get(f"{namespace_of(secret)}/{name}")
        if account is not None and uid in (None, "", uid_of(account)):
            made = filled(secret, account, self.certificates, self.sign)
            return [] if made is secret else [Update(SECRETS, made)]
        left_s = to_seconds(metadata(dict(secret)).get("creationTimestamp") or "") + PATIENCE_S - self.context.now_s()
        if left_s > 0:
            return [Requeue(left_s)]
        return [Delete(SECRETS, namespace_of(secret), name_of(secret), uid_of(secret))]
