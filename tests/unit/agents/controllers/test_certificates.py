"""Certificate signing requests, from a kubelet's question to its certificate; and bootstrap tokens' end."""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.controllers import certificate_rules as rules
from agents.controllers.certificate_rules import CLIENT, KUBELET_CLIENT, KUBELET_SERVING, Authority, Refused
from agents.controllers.certificates import REQUESTS, Approver, Cleaner, NoAuthority, Signer, load_authority
from agents.controllers.tokencleaner import SECRETS, TokenCleaner
from tests.support.controllers import EPOCH_S, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle

NOW = datetime.fromtimestamp(EPOCH_S, UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_USAGES = ["digital signature", "client auth"]
SERVER_USAGES = ["digital signature", "server auth"]


def authority():
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=10))
    return Authority(builder.sign(KEY, hashes.SHA256()), KEY)


def request(cn="system:node:n1", o="system:nodes", names=()):
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, cn)] + ([x509.NameAttribute(NameOID.ORGANIZATION_NAME, o)] if o else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def csr(made, signer=KUBELET_CLIENT, usages=CLIENT_USAGES, username="system:node:n1", conditions=(), **spec):
    pem = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    found = {"metadata": {"name": "r"}, "spec": {"request": pem, "signerName": signer, "usages": usages, "username": username, **spec}}
    if conditions:
        found["status"] = {"conditions": [{"type": each, "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"} for each in conditions]}
    return found


@pytest.mark.parametrize(
    ("signer", "made", "usages"),
    [
        (KUBELET_CLIENT, request(o="system:masters"), CLIENT_USAGES),
        (KUBELET_CLIENT, request(cn="root"), CLIENT_USAGES),
        (KUBELET_CLIENT, request(names=[x509.DNSName("a")]), CLIENT_USAGES),
        (KUBELET_CLIENT, request(), SERVER_USAGES),
        (KUBELET_SERVING, request(), SERVER_USAGES),
        (KUBELET_SERVING, request(names=[x509.DNSName("a"), x509.RFC822Name("a@b")]), SERVER_USAGES),
        (CLIENT, request(cn="alice", o=""), SERVER_USAGES),
        (CLIENT, request(cn="alice", o=""), [*CLIENT_USAGES, "cert sign"]),
    ],
)
def test_what_signers_refuse(signer, made, usages):
    with pytest.raises(Refused):
        rules.check(signer, made, usages)


def test_what_signers_take():
    rules.check(KUBELET_CLIENT, request(), [*CLIENT_USAGES, "key encipherment"])
    rules.check(KUBELET_SERVING, request(names=[x509.IPAddress(ip_address("10.0.0.1"))]), SERVER_USAGES)
    rules.check(CLIENT, request(cn="alice", o=""), CLIENT_USAGES)


def test_garbage_is_refused_in_words():
    for pem in (b"", b"x" * 100_000, b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"):
        with pytest.raises(Refused):
            rules.load_request(pem)


def test_a_certificate():
    made = rules.issue(csr(request(), expirationSeconds=3600), request(names=[x509.DNSName("n1")]), authority(), NOW, 1e9, 7)
    found = x509.load_pem_x509_certificate(made)
    assert (found.not_valid_before_utc, found.not_valid_after_utc) == (NOW - timedelta(minutes=5), NOW + timedelta(hours=1))
    assert found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value[0] == ExtendedKeyUsageOID.CLIENT_AUTH
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [x509.DNSName("n1")]
    # Never longer than the authority, whatever is asked.
    long = x509.load_pem_x509_certificate(rules.issue(csr(request()), request(), authority(), NOW, 1e9, 7))
    assert long.not_valid_after_utc == NOW + timedelta(days=10)


def test_kubelets_ask_for_themselves():
    assert rules.recognized(csr(request()), request())[0] == "selfnodeclient"
    assert rules.recognized(csr(request(), username="system:bootstrap:abcdef"), request())[0] == "nodeclient"
    assert rules.recognized(csr(request(), signer=KUBELET_SERVING), request()) is None
    assert rules.recognized(csr(request(cn="root")), request(cn="root")) is None


@pytest.mark.parametrize(
    ("conditions", "certificate", "age_s", "gone"),
    [
        ((), False, 24 * 3600, False),
        ((), False, 24 * 3600 + 1, True),
        (("Denied",), False, 3600, False),
        (("Denied",), False, 3601, True),
        (("Approved",), False, 10 * 24 * 3600, False),
        (("Approved",), True, 3601, True),
        (("Approved",), True, 60, False),
    ],
)
def test_what_is_thrown_away(conditions, certificate, age_s, gone):
    found = csr(request(), conditions=conditions)
    found["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    if certificate:
        found["status"]["certificate"] = base64.b64encode(rules.issue(found, request(), authority(), NOW, 1e9, 7)).decode()
    assert rules.outlived(found, EPOCH_S + age_s) is gone


class ReviewingApi(FakeApi):
    allowed = True

    async def create(self, resource, obj, namespace="", **options):
        if resource.plural == "subjectaccessreviews":
            self.calls.append(("review", obj["spec"]["resourceAttributes"]["subresource"], obj["spec"]["user"]))
            return {**obj, "status": {"allowed": self.allowed}}
        return await super().create(resource, obj, namespace, **options)

    async def update(self, resource, obj, *, subresource=""):
        # The fake knows no approval; it writes what is in the status.
        return await super().update(resource, obj, subresource="status" if subresource == "approval" else subresource)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_kubelet_that_may_gets_its_certificate(allowed):
    async def work():
        api = ReviewingApi()
        api.allowed = allowed
        async with running(api, Approver, lambda context: Signer(context, authority, serial=lambda: 9)):
            api.put(REQUESTS, csr(request()))
            await settle(200)
            status = api.all(REQUESTS)[0].get("status") or {}
            assert ("review", "selfnodeclient", "system:node:n1") in api.calls
            assert bool(status.get("certificate")) is allowed
            if allowed:
                assert x509.load_pem_x509_certificate(base64.b64decode(status["certificate"])).serial_number == 9

    run(work())


def test_an_approved_request_that_the_signer_refuses_has_failed():
    async def work():
        api = ReviewingApi()
        api.put(REQUESTS, csr(request(cn="root"), conditions=("Approved",)))
        api.put(REQUESTS, {**csr(request(), signer="example.com/other", conditions=("Approved",)), "metadata": {"name": "other"}})
        async with running(api, lambda context: Signer(context, authority)):
            await settle(200)
            other, failed = api.all(REQUESTS)
            assert [each["type"] for each in other["status"]["conditions"]] == ["Approved"]
            assert [(each["type"], each.get("reason")) for each in failed["status"]["conditions"]][1] == ("Failed", "SignerValidationFailure")

    run(work())


def test_an_authority_that_is_none(tmp_path):
    with pytest.raises(NoAuthority, match="--cluster-signing-cert-file"):
        load_authority(str(tmp_path / "absent"), "")


def test_the_cleaner_makes_its_rounds():
    async def work():
        import asyncio

        api = FakeApi()
        api.put(REQUESTS, csr(request()))
        async with running(api, Cleaner):
            await asyncio.sleep(23 * 3600)
            assert len(api.all(REQUESTS)) == 1
            await asyncio.sleep(3 * 3600)
            assert api.all(REQUESTS) == []

    run(work())


def test_bootstrap_tokens_end():
    async def work():
        import asyncio

        api = FakeApi()

        def token(name, end, type_="bootstrap.kubernetes.io/token"):
            data = {"expiration": base64.b64encode(end.encode()).decode()} if end else {}
            api.put(SECRETS, {"metadata": {"name": name, "namespace": "kube-system"}, "type": type_, "data": data})

        token("for-ever", "")
        token("soon", "2026-01-01T00:01:00Z")
        token("broken", "tomorrow")
        token("no-token", "2025-01-01T00:00:00Z", "Opaque")
        async with running(api, TokenCleaner):
            await settle(100)
            assert [each["metadata"]["name"] for each in api.all(SECRETS)] == ["for-ever", "no-token", "soon"]
            await asyncio.sleep(61)
            assert [each["metadata"]["name"] for each in api.all(SECRETS)] == ["for-ever", "no-token"]

    run(work())
