"""The controllers of certificate signing requests: approving kubelets' own, signing what is approved, throwing away what is outlived."""

import argparse
import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agents.controllers import certificate_rules as rules
from agents.controllers.certificate_rules import Authority, Refused, condition_of
from agents.kit.actions import Action, Delete, Update, UpdateStatus
from agents.kit.controller import Context, Controller
from agents.kit.times import to_text
from apiserver.machinery.objects import Object, is_terminating, name_of, uid_of
from apiserver.machinery.resources import resource
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

REQUESTS = resource("certificatesigningrequests.certificates.k8s.io", "v1")
REVIEWS = resource("subjectaccessreviews.authorization.k8s.io")
CLEAN_PERIOD_S = 3600.0
YEAR_S = 365 * 24 * 3600.0


class NoAuthority(Exception):
    """--cluster-signing-cert-file and --cluster-signing-key-file hold no authority."""


def load_authority(certificate_file: str, key_file: str) -> Authority:
    """Raises NoAuthority."""
    try:
        certificate = x509.load_pem_x509_certificate(Path(certificate_file).read_bytes())
        key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise NoAuthority(f"--cluster-signing-cert-file={certificate_file} --cluster-signing-key-file={key_file}: {error}") from error
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise NoAuthority(f"--cluster-signing-key-file={key_file}: neither an RSA nor an ECDSA key")
    return Authority(certificate, key)


def pem_of(csr: Object) -> bytes:
    """Raises Refused."""
    try:
        return base64.b64decode((csr.get("spec") or {}).get("request") or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"the request is not base64: {error}") from error


def with_condition(csr: Object, type_: str, reason: str, message: str, now: str) -> Object:
    condition = {"type": type_, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now, "lastTransitionTime": now}
    status = csr.get("status") or {}
    return {**csr, "status": {**status, "conditions": [*(status.get("conditions") or ()), condition]}}


def review(csr: Object, subresource: str) -> Object:
    """May whoever made the request create that subresource?"""
    spec = csr.get("spec") or {}
    attributes = {
        "group": "certificates.k8s.io",
        "resource": "certificatesigningrequests",
        "verb": "create",
        "subresource": subresource,
        "version": "*",
    }
    asked = {"user": spec.get("username", ""), "uid": spec.get("uid", ""), "groups": spec.get("groups") or [], "extra": spec.get("extra") or {}}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {**asked, "resourceAttributes": attributes}}


class Approver(Controller):
    name = "certificatesigningrequest-approving-controller"
    component = "certificate-controller"

    def watch(self) -> None:
        self.requests = self.watched(REQUESTS, self.enqueue)

    async def sync(self, key: str) -> float | None:
        csr = self.requests.get(key)
        if csr is None or (csr.get("status") or {}).get("certificate") or condition_of(csr, "Approved") or condition_of(csr, "Denied"):
            return None
        try:
            found = rules.recognized(csr, rules.load_request(pem_of(csr)))
        except Refused:
            return None  # not ours to judge: whoever approves it sees it fail
        if found is None:
            return None
        subresource, message = found
        answer = await self.client.create(REVIEWS, review(csr, subresource))
        if not (answer.get("status") or {}).get("allowed"):
            return None
        approved = with_condition(csr, "Approved", "AutoApproved", message, to_text(self.context.now_s()))
        return await self.performer.perform([Update(REQUESTS, approved, "approval")])


class Signer(Controller):
    """`serial` gives numbers that are never the same twice."""

    name = "certificatesigningrequest-signing-controller"
    component = "certificate-controller"

    def __init__(
        self,
        context: Context,
        authority: Callable[[], Authority],
        longest_s: float = YEAR_S,
        serial: Callable[[], int] = x509.random_serial_number,
    ) -> None:
        self.authority, self.longest_s, self.serial = authority, longest_s, serial
        super().__init__(context)

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "Signer | NoSigner":
        if not arguments.cluster_signing_cert_file or not arguments.cluster_signing_key_file:
            return NoSigner()
        # Read at each signing: an authority that was renewed is used without a restart.
        files = (arguments.cluster_signing_cert_file, arguments.cluster_signing_key_file)
        return cls(context, lambda: load_authority(*files), arguments.cluster_signing_duration)

    def watch(self) -> None:
        self.requests = self.watched(REQUESTS, self.enqueue)

    def reconcile(self, key: str) -> Sequence[Action]:
        csr = self.requests.get(key)
        if csr is None or is_terminating(csr) or not rules.to_be_signed(csr):
            return []
        now_s = self.context.now_s()
        spec = csr.get("spec") or {}
        try:
            request = rules.load_request(pem_of(csr))
            rules.check(spec["signerName"], request, spec.get("usages") or ())
            made = rules.issue(csr, request, self.authority(), datetime.fromtimestamp(now_s, UTC), self.longest_s, self.serial())
        except Refused as error:
            failed = with_condition(csr, "Failed", "SignerValidationFailure", str(error), to_text(now_s))
            return [UpdateStatus(REQUESTS, failed)]
        status = {**(csr.get("status") or {}), "certificate": base64.b64encode(made).decode()}
        return [UpdateStatus(REQUESTS, {**csr, "status": status})]


class NoSigner:
    """Stands in where no authority is given: requests wait for a signer elsewhere."""

    name = Signer.name

    async def run(self) -> None:
        log.warning("nothing is signed: --cluster-signing-cert-file and --cluster-signing-key-file are not set", extra=fields(controller=self.name))
        await asyncio.Event().wait()


class Cleaner(Controller):
    name = "certificatesigningrequest-cleaner-controller"
    component = "certificate-controller"

    def watch(self) -> None:
        self.requests = self.watched(REQUESTS)

    def reconcile(self, key: str) -> Sequence[Action]:
        csr = self.requests.get(key)
        if csr is None or not rules.outlived(csr, self.context.now_s()):
            return []
        return [Delete(REQUESTS, "", name_of(csr), uid_of(csr))]

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("rounds", self._rounds()),)

    async def _rounds(self) -> None:
        while True:
            for csr in self.requests.all():
                self.enqueue(csr)
            await asyncio.sleep(CLEAN_PERIOD_S)
