"""Bootstrap tokens end when their time is over (pkg/controller/bootstrap/tokencleaner.go). Off by default, as upstream."""

import base64
import binascii
from collections.abc import Sequence

from agents.kit.actions import Action, Delete, Requeue
from agents.kit.controller import Controller
from agents.kit.times import to_seconds
from apiserver.machinery.objects import Object, is_terminating, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

SECRETS = resource("secrets")
NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"


def expires_s(secret: Object) -> float | None:
    """Seconds of the time of day; None: never. A time that cannot be read is over: nobody could tell when it ends."""
    raw = (secret.get("data") or {}).get("expiration")
    if not raw:
        return None
    try:
        return to_seconds(base64.b64decode(raw, validate=True).decode().strip())
    except (binascii.Error, UnicodeDecodeError):
        return 0.0


class TokenCleaner(Controller):
    name = "token-cleaner-controller"
    component = "token-cleaner"

    def watch(self) -> None:
        self.secrets = self.watched(SECRETS, self.enqueue, namespace=NAMESPACE, field_selector=f"type={TYPE}")

    def reconcile(self, key: str) -> Sequence[Action]:
        secret = self.secrets.get(key)
        if secret is None or secret.get("type") != TYPE or is_terminating(secret):
            return []
        end_s = expires_s(secret)
        if end_s is None:
            return []
        left_s = end_s - self.context.now_s()
        if left_s > 0:
            return [Requeue(left_s)]
        return [Delete(SECRETS, namespace_of(secret), name_of(secret), uid_of(secret))]
