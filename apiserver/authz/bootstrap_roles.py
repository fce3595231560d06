"""The roles that every cluster begins with, as data (plugin/pkg/auth/authorizer/rbac/bootstrappolicy policy.go, controller_policy.go and
namespace_policy.go), and those of our own agents.

A line of a role is `verbs | groups | resources`, with `| names` for some; or `verbs | paths` for what is no resource. Words are separated by
blanks; `core` is the group without a name.
"""

READ = "get list watch"
WRITE = "create update patch delete deletecollection"
READ_WRITE = f"{READ} {WRITE}"
EVENTS = "create update patch | core events.k8s.io | events"
HEALTH = "/livez /readyz /healthz /version /version/"
RBAC, CERTIFICATES, SIGNERS = "rbac.authorization.k8s.io", "certificates.k8s.io", "certificates.k8s.io | signers"

WORKLOADS = "statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback replicasets replicasets/scale"

CLUSTER_ROLES: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("* | * | *", "* | *"),
    "system:discovery": (f"get | {HEALTH} /openapi /openapi/* /api /api/* /apis /apis/*",),
    "system:monitoring": ("get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*",),
    "system:basic-user": (
        "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
    ),
    "system:public-info-viewer": (f"get | {HEALTH}",),
    "system:aggregate-to-admin": (
        "create | authorization.k8s.io | localsubjectaccessreviews",
        f"{READ_WRITE} | {RBAC} | roles rolebindings",
    ),
    "system:aggregate-to-edit": (
        f"{READ} | core | pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy",
        "impersonate | core | serviceaccounts",
        f"{WRITE} | core | pods pods/attach pods/proxy pods/exec pods/portforward",
        "create | core | pods/eviction",
        f"{WRITE} | core | replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy persistentvolumeclaims"
        " configmaps secrets events",
        "create | core | serviceaccounts/token",
        f"{WRITE} | apps | {WORKLOADS}",
        f"{WRITE} | autoscaling | horizontalpodautoscalers",
        f"{WRITE} | batch | jobs cronjobs",
        f"{WRITE} | policy | poddisruptionbudgets",
        f"{WRITE} | networking.k8s.io | networkpolicies ingresses",
        f"{READ_WRITE} | coordination.k8s.io | leases",
        f"{WRITE} | resource.k8s.io | resourceclaims resourceclaimtemplates",
    ),
    "system:aggregate-to-view": (
        f"{READ} | core | pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status endpoints"
        " persistentvolumeclaims persistentvolumeclaims/status configmaps",
        f"{READ} | core | limitranges resourcequotas bindings events pods/status resourcequotas/status namespaces/status"
        " replicationcontrollers/status pods/log",
        f"{READ} | core | namespaces",
        f"{READ} | discovery.k8s.io | endpointslices",
        f"{READ} | apps | controllerrevisions {WORKLOADS.replace(' deployments/rollback', '')} statefulsets/status daemonsets/status"
        " deployments/status replicasets/status",
        f"{READ} | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status",
        f"{READ} | batch | jobs cronjobs cronjobs/status jobs/status",
        f"{READ} | policy | poddisruptionbudgets poddisruptionbudgets/status",
        f"{READ} | networking.k8s.io | networkpolicies ingresses ingresses/status",
        f"{READ} | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates",
    ),
    "system:heapster": (f"{READ} | core | events pods nodes namespaces", f"{READ} | extensions | deployments"),
    "system:node": (
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews localsubjectaccessreviews",
        f"{READ} | core | services",
        f"create {READ} | core | nodes",
        "update patch | core | nodes/status nodes",
        EVENTS,
        f"{READ} create delete | core | pods",
        "update patch | core | pods/status",
        "create | core | pods/eviction",
        f"{READ} | core | secrets configmaps",
        "get | core | persistentvolumeclaims persistentvolumes",
        "get | core | endpoints",
        f"create {READ} | {CERTIFICATES} | certificatesigningrequests",
        "get create update patch delete | coordination.k8s.io | leases",
        "get | storage.k8s.io | volumeattachments",
        "get update patch | core | persistentvolumeclaims/status",
        "create | core | serviceaccounts/token",
        f"{READ} | storage.k8s.io | csidrivers",
        "get create update patch delete | storage.k8s.io | csinodes",
        f"{READ} | node.k8s.io | runtimeclasses",
        "get | resource.k8s.io | resourceclaims",
        f"{READ_WRITE} | resource.k8s.io | resourceslices",
    ),
    "system:node-problem-detector": ("get | core | nodes", "patch | core | nodes/status", EVENTS),
    "system:kubelet-api-admin": (
        f"{READ} proxy | core | nodes",
        "* | core | nodes/proxy nodes/metrics nodes/stats nodes/log nodes/checkpoint nodes/configz nodes/healthz nodes/pods",
    ),
    "system:node-bootstrapper": (f"create {READ} | {CERTIFICATES} | certificatesigningrequests",),
    "system:auth-delegator": ("create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | subjectaccessreviews"),
    "system:kube-aggregator": (f"{READ} | core | services endpoints",),
    "system:kube-controller-manager": (
        EVENTS,
        "create | coordination.k8s.io | leases",
        "get update | coordination.k8s.io | leases | kube-controller-manager",
        "create | core | secrets serviceaccounts",
        "delete | core | secrets",
        "get | core | namespaces secrets serviceaccounts configmaps",
        "update | core | secrets serviceaccounts",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        "list watch | * | *",
        "create | core | serviceaccounts/token",
    ),
    "system:kube-dns": ("list watch | core | endpoints services",),
    "system:persistent-volume-provisioner": (
        f"{READ} create delete | core | persistentvolumes",
        f"{READ} update | core | persistentvolumeclaims",
        f"{READ} | storage.k8s.io | storageclasses",
        "watch | core | events",
        EVENTS,
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (f"create | {CERTIFICATES} | certificatesigningrequests/nodeclient",),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (f"create | {CERTIFICATES} | certificatesigningrequests/selfnodeclient",),
    "system:volume-scheduler": (
        f"{READ} update patch | core | persistentvolumes persistentvolumeclaims",
        f"{READ} | storage.k8s.io | storageclasses",
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (f"approve | {SIGNERS} | kubernetes.io/legacy-unknown",),
    "system:certificates.k8s.io:kubelet-serving-approver": (f"approve | {SIGNERS} | kubernetes.io/kubelet-serving",),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (f"approve | {SIGNERS} | kubernetes.io/kube-apiserver-client",),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (f"approve | {SIGNERS} | kubernetes.io/kube-apiserver-client-kubelet",),
    "system:service-account-issuer-discovery": ("get | /.well-known/openid-configuration /openid/v1/jwks",),
    "system:node-proxier": (
        "list watch | core | services endpoints",
        f"{READ} | core | nodes",
        EVENTS,
        "list watch | discovery.k8s.io | endpointslices",
        f"{READ} | networking.k8s.io | servicecidrs",
    ),
    "system:kube-scheduler": (
        EVENTS,
        "create | coordination.k8s.io | leases",
        "get update list watch | coordination.k8s.io | leases | kube-scheduler",
        f"{READ} | core | nodes namespaces",
        f"{READ} delete | core | pods",
        "create | core | pods/binding bindings",
        "patch update | core | pods/status",
        f"{READ} | core | services replicationcontrollers",
        f"{READ} | apps extensions | replicasets",
        f"{READ} | apps | statefulsets",
        f"{READ} | policy | poddisruptionbudgets",
        f"{READ} | core | persistentvolumeclaims persistentvolumes",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        f"{READ} | storage.k8s.io | csinodes csidrivers csistoragecapacities volumeattachments",
        f"{READ} | resource.k8s.io | deviceclasses resourceslices",
        f"{READ} update patch | resource.k8s.io | resourceclaims resourceclaims/status",
        "update patch | resource.k8s.io | resourceclaims/binding",
    ),
    # --- ours: agents that Kubernetes leaves to others -----------------------------------------------------------------
    "system:cloud-controller-manager": (
        EVENTS,
        "create get list watch update patch | coordination.k8s.io | leases",
        f"{READ} update patch delete | core | nodes",
        "patch update | core | nodes/status services/status",
        f"{READ} update patch | core | services",
        f"{READ} | discovery.k8s.io | endpointslices",
        f"{READ} | core | pods endpoints",
    ),
    "system:dns": (
        "list watch get | core | services endpoints namespaces pods nodes",
        "list watch get | discovery.k8s.io | endpointslices",
        EVENTS,
    ),
}

AGGREGATED = {"admin": ("edit",), "edit": ("view",), "view": ()}
"""Roles that are filled from others by the label aggregate-to-NAME; each carries the rules of the next, too."""

CONTROLLER_ROLES: dict[str, tuple[str, ...]] = {
    "attachdetach-controller": (
        "list watch | core | persistentvolumes persistentvolumeclaims pods",
        f"{READ} | core | nodes",
        "patch update | core | nodes/status",
        EVENTS,
        "get create delete list watch | storage.k8s.io | volumeattachments",
        f"{READ} | storage.k8s.io | csidrivers csinodes",
    ),
    "clusterrole-aggregation-controller": (f"escalate {READ} update patch | {RBAC} | clusterroles",),
    "cronjob-controller": (
        f"{READ} update | batch | cronjobs",
        f"{READ} create update delete patch | batch | jobs",
        "update | batch | cronjobs/status cronjobs/finalizers",
        "list watch delete | core | pods",
        EVENTS,
    ),
    "daemon-set-controller": (
        f"{READ} | extensions apps | daemonsets",
        "update | extensions apps | daemonsets/status daemonsets/finalizers",
        "list watch | core | nodes",
        "list watch create delete patch | core | pods",
        "create | core | pods/binding",
        f"{READ} create delete update patch | apps | controllerrevisions",
        EVENTS,
    ),
    "deployment-controller": (
        f"{READ} update | extensions apps | deployments",
        "update | extensions apps | deployments/status deployments/finalizers",
        f"{READ} create update patch delete | apps extensions | replicasets",
        f"{READ} update | core | pods",
        EVENTS,
    ),
    "disruption-controller": (
        f"{READ} | extensions apps | deployments replicasets",
        f"{READ} | core | replicationcontrollers",
        f"{READ} | policy | poddisruptionbudgets",
        f"{READ} | apps | statefulsets",
        "update | policy | poddisruptionbudgets/status",
        "patch update | core | pods/status",
        "get | * | */scale",
        EVENTS,
    ),
    "endpoint-controller": (
        f"{READ} | core | services pods",
        f"{READ} create update delete | core | endpoints",
        "create | core | endpoints/restricted",
        EVENTS,
    ),
    "endpointslice-controller": (
        f"{READ} | core | services pods nodes",
        "update | core | services/finalizers",
        f"{READ} create update delete | discovery.k8s.io | endpointslices",
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        f"{READ} | core | services endpoints",
        "update | core | services/finalizers endpoints/finalizers",
        f"{READ} create update delete | discovery.k8s.io | endpointslices",
        EVENTS,
    ),
    "expand-controller": (
        f"{READ} update patch | core | persistentvolumes",
        "update patch | core | persistentvolumeclaims/status",
        f"{READ} | core | persistentvolumeclaims",
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        f"{READ} | core | pods",
        "update | core | pods/finalizers",
        f"{READ} create | core | persistentvolumeclaims",
        EVENTS,
    ),
    "resource-claim-controller": (
        f"{READ} | core | pods",
        "update | core | pods/finalizers",
        f"{READ} create delete | resource.k8s.io | resourceclaims",
        "update patch | resource.k8s.io | resourceclaims resourceclaims/binding resourceclaims/status",
        "update patch | core | pods/status",
        EVENTS,
    ),
    "generic-garbage-collector": (f"{READ} patch update delete | * | *", EVENTS),
    "horizontal-pod-autoscaler": (
        f"{READ} | autoscaling | horizontalpodautoscalers",
        "update | autoscaling | horizontalpodautoscalers/status",
        "get update | * | */scale",
        "list watch | core | pods",
        "list watch | metrics.k8s.io | pods",
        f"{READ} | custom.metrics.k8s.io external.metrics.k8s.io | *",
        EVENTS,
    ),
    "job-controller": (
        f"{READ} update patch | batch | jobs",
        "update | batch | jobs/status jobs/finalizers",
        "list watch create delete patch | core | pods",
        EVENTS,
    ),
    "namespace-controller": (
        f"{READ} delete | core | namespaces",
        "update | core | namespaces/finalize namespaces/status",
        f"{READ} delete deletecollection | * | *",
    ),
    "node-controller": (
        f"{READ} update delete patch | core | nodes",
        "patch update | core | nodes/status pods/status",
        f"{READ} delete | core | pods",
        EVENTS,
    ),
    "persistent-volume-binder": (
        f"{READ} update create delete | core | persistentvolumes",
        "update | core | persistentvolumes/status persistentvolumeclaims/status",
        f"{READ} update | core | persistentvolumeclaims",
        f"{READ} create delete | core | pods",
        f"{READ} | storage.k8s.io | storageclasses",
        "list watch | core | nodes",
        "watch | core | events",
        EVENTS,
    ),
    # Ours: volumes that are directories of a node, and the storage class that makes them.
    "local-path-provisioner": (
        f"{READ} create | storage.k8s.io | storageclasses",
        f"{READ} create delete | core | persistentvolumes",
        f"{READ} update | core | persistentvolumeclaims",
        f"{READ} | core | nodes",
        EVENTS,
    ),
    "pod-garbage-collector": ("list watch delete | core | pods", f"{READ} | core | nodes", "patch | core | pods/status"),
    "replicaset-controller": (
        f"{READ} update | apps extensions | replicasets",
        "update | apps extensions | replicasets/status replicasets/finalizers",
        "list watch patch create delete | core | pods",
        EVENTS,
    ),
    "replication-controller": (
        f"{READ} update | core | replicationcontrollers",
        "update | core | replicationcontrollers/status replicationcontrollers/finalizers",
        "list watch patch create delete | core | pods",
        EVENTS,
    ),
    "resourcequota-controller": ("list watch | * | *", "update | core | resourcequotas/status", EVENTS),
    "route-controller": ("list watch | core | nodes", "patch | core | nodes/status", EVENTS),
    "service-account-controller": ("create | core | serviceaccounts", EVENTS),
    "service-controller": (f"{READ} | core | services", "patch update | core | services/status", "list watch | core | nodes", EVENTS),
    "service-cidrs-controller": (
        f"{READ} patch update | networking.k8s.io | servicecidrs",
        "patch update | networking.k8s.io | servicecidrs/finalizers servicecidrs/status",
        f"{READ} | networking.k8s.io | ipaddresses",
        EVENTS,
    ),
    "statefulset-controller": (
        "list watch get create delete update patch | core | pods",
        f"{READ} | apps | statefulsets",
        "update | apps | statefulsets/status statefulsets/finalizers",
        f"{READ} create delete update patch | apps | controllerrevisions",
        f"{READ} create update delete | core | persistentvolumeclaims",
        EVENTS,
    ),
    "ttl-controller": ("update patch list watch | core | nodes", EVENTS),
    "certificate-controller": (
        f"{READ} delete | {CERTIFICATES} | certificatesigningrequests",
        f"update | {CERTIFICATES} | certificatesigningrequests/status certificatesigningrequests/approval",
        f"approve | {SIGNERS} | kubernetes.io/kube-apiserver-client-kubelet",
        f"sign | {SIGNERS} | kubernetes.io/legacy-unknown kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet"
        " kubernetes.io/kubelet-serving",
        "create | authorization.k8s.io | subjectaccessreviews",
        EVENTS,
    ),
    "pvc-protection-controller": (
        f"{READ} update | core | persistentvolumeclaims",
        "update | core | persistentvolumeclaims/status",
        f"{READ} | core | pods",
        EVENTS,
    ),
    "pv-protection-controller": (f"{READ} update | core | persistentvolumes", EVENTS),
    "volumeattributesclass-protection-controller": (
        f"{READ} | core | persistentvolumeclaims persistentvolumes",
        f"{READ} update | storage.k8s.io | volumeattributesclasses",
        EVENTS,
    ),
    "ttl-after-finished-controller": (f"{READ} delete | batch | jobs", EVENTS),
    "root-ca-cert-publisher": ("create update | core | configmaps", EVENTS),
    "validatingadmissionpolicy-status-controller": (
        f"{READ} | admissionregistration.k8s.io | validatingadmissionpolicies",
        "get patch update | admissionregistration.k8s.io | validatingadmissionpolicies/status",
        EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        "get | core | configmaps | kube-apiserver-legacy-service-account-token-tracking",
        "patch delete | core | secrets",
    ),
}

NAMESPACE_ROLES: dict[tuple[str, str], tuple[str, ...]] = {
    ("kube-system", "extension-apiserver-authentication-reader"): (f"{READ} | core | configmaps | extension-apiserver-authentication",),
    ("kube-system", "system:controller:bootstrap-signer"): (f"{READ} | core | secrets",),
    ("kube-system", "system:controller:cloud-provider"): ("create get list watch | core | configmaps",),
    ("kube-system", "system:controller:token-cleaner"): (f"{READ} delete | core | secrets", EVENTS),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "watch | core | configmaps",
        "get update | core | configmaps | kube-controller-manager",
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): ("watch | core | configmaps", "get update | core | configmaps | kube-scheduler"),
    ("kube-public", "system:controller:bootstrap-signer"): (f"{READ} | core | configmaps", "update | core | configmaps | cluster-info", EVENTS),
    # Ours: a name server announces itself among the endpoints of its Service, which the first of them makes.
    ("kube-system", "system:dns"): (
        "create | core | services",
        "create | core | services",
        "get create update patch delete | discovery.k8s.io | endpointslices",
        "create | discovery.k8s.io | endpointslices/restricted",
    ),
}

Subjects = tuple[tuple[str, str], ...]
"""Kind and name; a service account as namespace/name."""

CLUSTER_BINDINGS: dict[str, Subjects] = {
    "cluster-admin": (("Group", "system:masters"),),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:discovery": (("Group", "system:authenticated"),),
    "system:basic-user": (("Group", "system:authenticated"),),
    "system:public-info-viewer": (("Group", "system:authenticated"), ("Group", "system:unauthenticated")),
    "system:node-proxier": (("User", "system:kube-proxy"),),
    "system:kube-controller-manager": (("User", "system:kube-controller-manager"),),
    "system:kube-dns": (("ServiceAccount", "kube-system/kube-dns"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    "system:volume-scheduler": (("User", "system:kube-scheduler"),),
    "system:node": (),  # since there is the Node authorizer
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
    "system:cloud-controller-manager": (("User", "system:cloud-controller-manager"),),
    "system:dns": (("User", "system:dns"),),
}

NAMESPACE_BINDINGS: dict[tuple[str, str], tuple[str, Subjects]] = {
    ("kube-system", "system::extension-apiserver-authentication-reader"): (
        "extension-apiserver-authentication-reader",
        (("User", "system:kube-controller-manager"), ("User", "system:kube-scheduler")),
    ),
    ("kube-system", "system:controller:bootstrap-signer"): ("", (("ServiceAccount", "kube-system/bootstrap-signer"),)),
    ("kube-system", "system:controller:cloud-provider"): ("", (("ServiceAccount", "kube-system/cloud-provider"),)),
    ("kube-system", "system:controller:token-cleaner"): ("", (("ServiceAccount", "kube-system/token-cleaner"),)),
    ("kube-system", "system::leader-locking-kube-controller-manager"): (
        "",
        (("User", "system:kube-controller-manager"), ("ServiceAccount", "kube-system/kube-controller-manager")),
    ),
    ("kube-system", "system::leader-locking-kube-scheduler"): (
        "",
        (("User", "system:kube-scheduler"), ("ServiceAccount", "kube-system/kube-scheduler")),
    ),
    ("kube-public", "system:controller:bootstrap-signer"): ("", (("ServiceAccount", "kube-system/bootstrap-signer"),)),
    ("kube-system", "system:dns"): ("", (("User", "system:dns"),)),
}
"""The role's name is the binding's if none is given."""

CONTROLLERS = "system:keelson:controllers"
"""Ours: all controllers run as one program with one certificate, so that one identity has the rights of them all. Whoever may update a thing may
patch it: our controllers patch where upstream's update."""
