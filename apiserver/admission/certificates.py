"""Who may approve and sign which certificates, and which nobody may ask for (plugin/pkg/admission/certificates)."""

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from apiserver.admission.plugin import is_about, refusal, spec_of
from apiserver.machinery.objects import Object
from apiserver.request import Attributes, Authorizer, Passive, Write

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
API_SERVER_CLIENT = "kubernetes.io/kube-apiserver-client"


class CertificateApproval(Passive):
    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, write: Write) -> None:
        if not is_about(write, REQUESTS, "UPDATE", subresource="approval"):
            return
        signer = str(spec_of(write.old_object or write.object).get("signerName") or "")
        if not await may(self._authorizer, write, "approve", signer):
            raise refusal(write, f'user not permitted to approve requests with signerName "{signer}"')


class CertificateSigning(Passive):
    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, write: Write) -> None:
        if not is_about(write, REQUESTS, "UPDATE", subresource="status"):
            return
        new, old = (write.object or {}).get("status") or {}, (write.old_object or {}).get("status") or {}
        if new.get("certificate") == old.get("certificate") and _failed(new) == _failed(old):
            return
        signer = str(spec_of(write.old_object or write.object).get("signerName") or "")
        if not await may(self._authorizer, write, "sign", signer):
            raise refusal(write, f'user not permitted to sign requests with signerName "{signer}"')


class CertificateSubjectRestriction(Passive):
    name = "CertificateSubjectRestriction"

    async def validate(self, write: Write) -> None:
        if not is_about(write, REQUESTS, "CREATE") or spec_of(write.object).get("signerName") != API_SERVER_CLIENT:
            return
        request = parsed(spec_of(write.object).get("request"))
        if request is None:
            raise refusal(write, "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST")
        if any(each.value == "system:masters" for each in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
            raise refusal(write, f"use of {API_SERVER_CLIENT} signer with system:masters group is not allowed")


async def may(authorizer: Authorizer, write: Write, verb: str, signer: str) -> bool:
    """On the signer itself, or on all of its domain."""
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        attributes = Attributes(write.user, verb, "", True, "certificates.k8s.io", "*", "signers", name=name)
        if (await authorizer.authorize(attributes)).allowed is True:
            return True
    return False


def parsed(request: object) -> x509.CertificateSigningRequest | None:
    """A CSR's `spec.request`: base64 of PEM."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(request, validate=True)) if isinstance(request, str) else None
    except (ValueError, binascii.Error):
        return None


def _failed(status: Object) -> bool:
    return any(each.get("type") == "Failed" for each in status.get("conditions") or ())
