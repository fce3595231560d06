"""Certificate signing requests: what the built-in signers take, who is approved without being asked, what is issued, and what is thrown away
(pkg/controller/certificates, pkg/apis/certificates/helpers.go). Pure: time and serial number come in.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from agents.kit.times import created_s, to_seconds
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)

BACKDATE_S = 300.0
"""Clocks differ: a certificate is good from five minutes before it was made."""
DURATION_MIN_S = 600
APPROVED_KEPT_S = DENIED_KEPT_S = 3600.0
PENDING_KEPT_S = 24 * 3600.0
PEM_BYTES_MAX = 64 << 10

KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
}
"""cert sign and crl sign are not given: what we issue is no authority."""
EXTENDED_USAGES = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}


class Refused(Exception):
    """The signer does not take the request: the text becomes the message of the condition Failed."""


class Authority(Struct, frozen=True):
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes


def load_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Raises Refused."""
    if len(pem) > PEM_BYTES_MAX:
        raise Refused(f"the request has more than {PEM_BYTES_MAX} bytes")
    try:
        request = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise Refused(f"unable to parse csr: {error}") from error
    if not request.is_signature_valid:
        raise Refused("the signature of the request does not hold")
    return request


def common_name(request: x509.CertificateSigningRequest) -> str:
    found = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def organizations(request: x509.CertificateSigningRequest) -> list[str]:
    return [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def alternative_names(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def check_kubelet_client(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    """Raises Refused."""
    _node_subject(request)
    names = alternative_names(request)
    if names is not None and len(list(names)):
        raise Refused("subjectAltNames are not allowed in a kubelet's client certificate")
    _usages(usages, {"digital signature", "client auth"})


def check_kubelet_serving(request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    """Raises Refused."""
    _node_subject(request)
    names = list(alternative_names(request) or ())
    if not any(isinstance(each, (x509.DNSName, x509.IPAddress)) for each in names):
        raise Refused("at least one DNS name or IP address is required in subjectAltName")
    if any(not isinstance(each, (x509.DNSName, x509.IPAddress)) for each in names):
        raise Refused("email addresses and URIs are not allowed in subjectAltName")
    _usages(usages, {"digital signature", "server auth"})


def _node_subject(request: x509.CertificateSigningRequest) -> None:
    if organizations(request) != ["system:nodes"]:
        raise Refused("subject organization is not system:nodes")
    if not common_name(request).startswith("system:node:"):
        raise Refused("subject common name does not begin with system:node:")


def _usages(given: Sequence[str], wanted: set[str]) -> None:
    if set(given) not in (wanted, wanted | {"key encipherment"}):
        told = ", ".join(sorted(wanted))
        raise Refused(f"usages did not match {told} (with or without key encipherment)")


def check(signer: str, request: x509.CertificateSigningRequest, usages: Sequence[str]) -> None:
    """What a signer takes. Raises Refused."""
    if signer == KUBELET_CLIENT:
        check_kubelet_client(request, usages)
    elif signer == KUBELET_SERVING:
        check_kubelet_serving(request, usages)
    elif signer == CLIENT:
        allowed = {"signing", "digital signature", "content commitment", "key encipherment", "client auth"}
        if "client auth" not in usages or not set(usages) <= allowed:
            raise Refused("usages must contain client auth, and nothing but what client certificates need")


def recognized(csr: Object, request: x509.CertificateSigningRequest) -> tuple[str, str] | None:
    """Whether a request is of a kubelet for itself: the subresource whose `create` it needs, and what is said when it is approved."""
    spec = csr.get("spec") or {}
    if spec.get("signerName") != KUBELET_CLIENT:
        return None
    try:
        check_kubelet_client(request, spec.get("usages") or ())
    except Refused:
        return None
    if common_name(request) == spec.get("username"):
        return "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."
    return "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."


def condition_of(csr: Object, type_: str) -> Object | None:
    return condition(csr.get("status") or {}, type_)


def to_be_signed(csr: Object) -> bool:
    """Approved, and neither denied, failed nor issued."""
    status = csr.get("status") or {}
    if status.get("certificate") or condition_of(csr, "Denied") or condition_of(csr, "Failed"):
        return False
    return condition_of(csr, "Approved") is not None and (csr.get("spec") or {}).get("signerName") in SIGNERS


def validity(csr: Object, authority: Authority, now: datetime, longest_s: float) -> tuple[datetime, datetime]:
    asked = (csr.get("spec") or {}).get("expirationSeconds")
    seconds = longest_s if asked is None else min(max(int(asked), DURATION_MIN_S), longest_s)
    begin = now - timedelta(seconds=BACKDATE_S)
    end = now + timedelta(seconds=seconds)
    return max(begin, authority.certificate.not_valid_before_utc), min(end, authority.certificate.not_valid_after_utc)


def issue(csr: Object, request: x509.CertificateSigningRequest, authority: Authority, now: datetime, longest_s: float, serial: int) -> bytes:
    """The certificate, PEM. Subject and alternative names are the request's, usages those of the object; never an authority."""
    usages: Sequence[str] = (csr.get("spec") or {}).get("usages") or ()
    begin, end = validity(csr, authority, now, longest_s)
    public = request.public_key()
    if not isinstance(public, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        raise Refused("the key is neither RSA nor ECDSA")
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(authority)), critical=False)
    )
    flags = {KEY_USAGES[each] for each in usages if each in KEY_USAGES}
    if flags:
        builder = builder.add_extension(_key_usage(flags), critical=True)
    extended = [EXTENDED_USAGES[each] for each in usages if each in EXTENDED_USAGES]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    names = alternative_names(request)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _public(authority: Authority) -> Any:
    return authority.certificate.public_key()


def _key_usage(flags: set[str]) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    given = {name: name in flags for name in names}
    return x509.KeyUsage(**given, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False)


def outlived(csr: Object, now_s: float) -> bool:
    """Whether a request is of no use to anybody any more (cleaner.go)."""
    status = csr.get("status") or {}
    if status.get("certificate"):
        pem = _decoded(status["certificate"])
        if pem is not None and pem.not_valid_after_utc < datetime.fromtimestamp(now_s, UTC):
            return True
    for type_, kept_s in (("Denied", DENIED_KEPT_S), ("Failed", DENIED_KEPT_S), ("Approved", APPROVED_KEPT_S)):
        found = condition_of(csr, type_)
        if found is not None:
            # What is approved and not issued waits for its signer, perhaps one of somebody's own.
            waits = type_ == "Approved" and not status.get("certificate")
            return not waits and now_s - to_seconds(found.get("lastUpdateTime")) > kept_s
    return now_s - created_s(csr) > PENDING_KEPT_S


def _decoded(text: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(text))
    except (ValueError, binascii.Error):
        return None
