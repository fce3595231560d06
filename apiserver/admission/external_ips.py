"""DenyServiceExternalIPs, off unless asked for: no service gets an external address that it does not have (plugin/pkg/admission/network).

Whoever may make services could otherwise have what others send to any address outside of the cluster (CVE-2020-8554).
"""

from apiserver.admission.plugin import is_about, refusal, spec_of
from apiserver.request import Passive, Write


class DenyServiceExternalIPs(Passive):
    name = "DenyServiceExternalIPs"

    async def validate(self, write: Write) -> None:
        if not is_about(write, "services", "CREATE", "UPDATE"):
            return
        before = set(spec_of(write.old_object).get("externalIPs") or ())
        if not before.issuperset(spec_of(write.object).get("externalIPs") or ()):
            raise refusal(write, "Use of external IPs is denied by admission control")
