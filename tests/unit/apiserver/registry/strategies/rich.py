"""One rich object of each kind that people use, as a client would write it."""

from typing import Any

Object = dict[str, Any]

POD: Object = {
    "initContainers": [
        {"name": "wait", "image": "busybox:1.36", "command": ["sh", "-c", "true"]},
        {"name": "proxy", "image": "envoy:1", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 15000}}},
    ],
    "containers": [
        {
            "name": "web",
            "image": "nginx:1.27",
            "args": ["-g", "daemon off;"],
            "ports": [{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP", "hostPort": 5353}],
            "env": [
                {"name": "A", "value": "b"},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "c"}}, {"prefix": "S_", "secretRef": {"name": "s"}}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": 1, "memory": "128Mi", "example.com/gpu": "1"}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "config", "mountPath": "/etc/x", "subPath": "x/y", "readOnly": True}],
            "livenessProbe": {"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}, "initialDelaySeconds": 3},
            "readinessProbe": {"exec": {"command": ["true"]}, "successThreshold": 2},
            "startupProbe": {"grpc": {"port": 9000}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
            "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "config", "configMap": {"name": "c", "items": [{"key": "a", "path": "b/c"}]}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 256}},
        {"name": "host", "hostPath": {"path": "/var/log", "type": "Directory"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "c"}}]}},
    ],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}, {"operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}}
            ]
        },
    },
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.96.0.10"], "options": [{"name": "ndots", "value": "2"}]},
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 5,
    "imagePullSecrets": [{"name": "pull"}],
    "securityContext": {"fsGroup": 1000},
}
LABELS = {"app": "a"}
TEMPLATE: Object = {"metadata": {"labels": LABELS, "annotations": {"a/b": "c"}}, "spec": POD}
RUN_ONCE: Object = {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "busybox"}]}}
SELECTED: Object = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
CLAIM: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}

RICH: dict[str, Object] = {
    "pods": {"metadata": {"labels": LABELS}, "spec": POD},
    "podtemplates": {"template": TEMPLATE},
    "deployments.apps": {"spec": {**SELECTED, "replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "0%"}}}},
    "replicasets.apps": {"spec": SELECTED},
    "replicationcontrollers": {"spec": {"selector": LABELS, "template": TEMPLATE}},
    "daemonsets.apps": {"spec": {**SELECTED, "updateStrategy": {"type": "OnDelete"}}},
    "statefulsets.apps": {
        "spec": {
            **SELECTED,
            "serviceName": "s",
            "template": {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM}],
        }
    },
    "controllerrevisions.apps": {"revision": 1, "data": {"spec": {}}},
    "jobs.batch": {"spec": {"template": RUN_ONCE, "backoffLimit": 2, "ttlSecondsAfterFinished": 60}},
    "cronjobs.batch": {
        "spec": {"schedule": "*/5 0-4,8 1 jan-mar MON-FRI", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": RUN_ONCE}}}
    },
    "services": {
        "spec": {
            "type": "LoadBalancer",
            "selector": LABELS,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            "sessionAffinity": "ClientIP",
            "externalTrafficPolicy": "Local",
        }
    },
    "endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "endpointslices.discovery.k8s.io": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 80}],
    },
    "configmaps": {"data": {"a.conf": "x"}, "binaryData": {"b": "AAE="}},
    "secrets": {"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}},
    "serviceaccounts": {"automountServiceAccountToken": False},
    "persistentvolumes": {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}},
    "persistentvolumeclaims": {"spec": CLAIM},
    "storageclasses.storage.k8s.io": {"provisioner": "keelson.io/local", "volumeBindingMode": "WaitForFirstConsumer"},
    "horizontalpodautoscalers.autoscaling": {
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 5, "behavior": {"scaleDown": {}}}
    },
    "poddisruptionbudgets.policy": {"spec": {"minAvailable": "50%", "selector": {"matchLabels": LABELS}}},
    "roles.rbac.authorization.k8s.io": {"rules": [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}]},
    "clusterroles.rbac.authorization.k8s.io": {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
    "rolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
    },
    "clusterrolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "Group", "name": "system:masters"}],
    },
    "ingresses.networking.k8s.io": {
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["a.example.com"], "secretName": "t"}],
            "rules": [
                {
                    "host": "*.example.com",
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]},
                }
            ],
        }
    },
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "example.com/ingress"}},
    "networkpolicies.networking.k8s.io": {
        "spec": {
            "podSelector": {"matchLabels": LABELS},
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}],
            "egress": [{"to": [{"podSelector": {}, "namespaceSelector": {}}]}],
        }
    },
    "namespaces": {},
    "nodes": {
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"], "taints": [{"key": "a", "effect": "NoSchedule"}]},
        "status": {"capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
    },
    "leases.coordination.k8s.io": {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}},
    "events": {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "Started", "message": "m", "count": 1},
    "priorityclasses.scheduling.k8s.io": {"value": 1000, "description": "d"},
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {"request": "YQ==", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    },
    "resourcequotas": {"spec": {"hard": {"pods": "4", "requests.cpu": "1", "count/jobs.batch": 3}, "scopes": ["NotTerminating"]}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "default": {"cpu": "500m"}, "min": {"cpu": "10m"}}]}},
    "validatingwebhookconfigurations.admissionregistration.k8s.io": {
        "webhooks": [
            {
                "name": "a.example.com",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": "https://127.0.0.1:9443/validate"},
                "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["CREATE"]}],
            }
        ]
    },
    "validatingadmissionpolicies.admissionregistration.k8s.io": {
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]
            },
            "variables": [{"name": "most", "expression": "5"}],
            "validations": [{"expression": "object.spec.replicas <= variables.most", "message": "too many"}],
        }
    },
    "customresourcedefinitions.apiextensions.k8s.io": {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        }
    },
    "runtimeclasses.node.k8s.io": {"handler": "embedded"},
    "csidrivers.storage.k8s.io": {"spec": {}},
    "volumeattachments.storage.k8s.io": {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
    "servicecidrs.networking.k8s.io": {"spec": {"cidrs": ["10.96.0.0/16", "fd00::/112"]}},
    "ipaddresses.networking.k8s.io": {"metadata": {"name": "10.96.0.1"}, "spec": {"parentRef": {"resource": "services", "name": "s"}}},
    "resourceclaims.resource.k8s.io": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}},
    "resourceclaimtemplates.resource.k8s.io": {"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}}},
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": {"spec": {"policyName": "p"}},
    "flowschemas.flowcontrol.apiserver.k8s.io": {"spec": {"priorityLevelConfiguration": {"name": "l"}}},
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}},
}
