"""What the API servers of a cluster on this machine record in their audit logs: who changed what, and every look at secrets; not the constant hum of
the components. Written once and then left alone: it is the operator's to change.
"""

import json
from pathlib import Path
from typing import Any

NAME = "audit-policy.yaml"
READS = ["get", "list", "watch"]
COMPONENTS = ["system:kube-scheduler", "system:kube-controller-manager", "system:cloud-controller-manager", "system:kube-proxy", "system:dns"]

POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version*", "/metrics", "/openapi*", "/api*"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "resources": [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io", "resources": ["events"]}]},
        {"level": "None", "users": COMPONENTS, "verbs": READS},
        {"level": "None", "userGroups": ["system:nodes"], "verbs": READS},
        {"level": "None", "userGroups": ["system:nodes"], "resources": [{"group": "", "resources": ["nodes/status", "pods/status"]}]},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
        {"level": "None", "verbs": READS},
        {"level": "Metadata"},
    ],
}


def ensure(folder: Path) -> bool:
    """Whether it was written: it is not if there is one."""
    path = folder / NAME
    if path.exists():
        return False
    path.write_text(json.dumps(POLICY, indent=2) + "\n")  # JSON, which is YAML to every reader
    return True
