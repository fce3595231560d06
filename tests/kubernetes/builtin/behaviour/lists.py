"""Lists: selectors, pages, resource versions, and the errors of each."""

from urllib.parse import quote

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, pod
from tests.kubernetes.builtin.duel import Duel

MAPS = f"{CORE}/configmaps"


def selectors(d: Duel) -> None:
    for name in ("la", "lb", "lc"):
        d.both("POST", MAPS, config_map(name, labels={"list": "yes", "name": name}))
    for text in (
        "list",
        "list=yes",
        "list==yes",
        "list!=yes,name",
        "name in (la,lb)",
        "name notin (la)",
        "!list",
        "name in ()",
        "name in (la",
        "=x",
        "a=b=c",
        "a b",
        "name>3",
        "name<x",
        "x in",
        "Bad!=y",
        "list=yes,",
        ",",
        "name in (la),name!=la",
        f"{'x' * 64}=y",
        "a=Bad Value!",
        "list = yes",
        "name in (la,,lb)",
    ):
        d.ask("GET", f"{MAPS}?labelSelector={quote('list=yes,' if text.startswith('!') else '')}{quote(text)}", what=f"labels {text}")
    for text in (
        "metadata.name=la",
        "metadata.name!=la,metadata.namespace=shop",
        "data.a=1",
        "metadata.labels=x",
        "metadata.name",
        "metadata.name=",
        "=",
        "metadata.name==lb",
        "metadata.name=la,metadata.name=lb",
        "nope=x",
        "metadata.name in (a)",
    ):
        d.ask("GET", f"{MAPS}?labelSelector=list&fieldSelector={quote(text)}", what=f"fields {text}")
    d.both("POST", f"{CORE}/pods", pod("listed", {"nodeName": "n7"}))
    for text in (
        "spec.nodeName=n7",
        "status.phase=Pending,spec.nodeName=n7",
        "spec.restartPolicy=Always,spec.nodeName=n7",
        "spec.schedulerName=other",
        "spec.hostNetwork=true",
        "status.podIP=1",
        "status.nominatedNodeName=x",
        "spec.serviceAccountName=absent",
        "spec.image=x",
        "status.podIPs=x",
    ):
        d.ask("GET", f"{CORE}/pods?fieldSelector={quote(text)}", what=f"pod fields {text}")
    for path, text in (
        ("/api/v1/nodes", "spec.unschedulable=true"),
        ("/api/v1/namespaces", "status.phase=Terminating"),
        (f"{CORE}/events", "involvedObject.name=x"),
        (f"{CORE}/events", "reason=x,type=y,source=z"),
        (f"{CORE}/secrets", "type=Opaque"),
        (f"{APPS}/deployments", "spec.replicas=3"),
        (f"{APPS}/replicasets", "status.replicas=9"),
        ("/apis/batch/v1/namespaces/shop/jobs", "status.successful=1"),
        (f"{CORE}/services", "spec.clusterIP=1"),
        (f"{CORE}/services", "spec.type=LoadBalancer"),
        ("/apis/certificates.k8s.io/v1/certificatesigningrequests", "spec.signerName=x"),
        (f"{CORE}/replicationcontrollers", "status.replicas=1"),
        (f"{CORE}/persistentvolumeclaims", "metadata.name=x"),
        (f"{CORE}/persistentvolumeclaims", "spec.volumeName=x"),
    ):
        d.ask("GET", f"{path}?fieldSelector={quote(text)}")


def pages(d: Duel) -> None:
    for name in ("pa", "pb", "pc"):
        d.both("POST", MAPS, config_map(name, labels={"page": "yes"}))

    def walk(side: object) -> list[object]:
        found, more = [], ""
        for _ in range(5):
            body = side.ask("GET", f"{MAPS}?labelSelector=page&limit=2{more}").body  # type: ignore[attr-defined]
            found.append((len(body["items"]), "continue" in body["metadata"], body["metadata"].get("remainingItemCount")))
            if "continue" not in body["metadata"]:
                break
            more = f"&continue={quote(body['metadata']['continue'])}"
        return found

    d.compare_values("pages", walk(d.oracle), walk(d.subject))
    for query in (
        "limit=0",
        "limit=-1",
        "limit=word",
        "continue=nothing",
        "continue=e30",
        "limit=1&resourceVersion=0",
        "resourceVersion=word",
        "resourceVersion=-1",
        "resourceVersion=0",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=Strange",
        "resourceVersionMatch=Exact",
        "resourceVersion=1&resourceVersionMatch=NotOlderThan",
        "resourceVersion=99999999",
        "resourceVersion=99999999&resourceVersionMatch=Exact",
        "limit=1&continue=x&resourceVersion=3",
        "resourceVersionMatch=NotOlderThan",
        "timeoutSeconds=word",
        "watch=maybe&timeoutSeconds=1",
        "sendInitialEvents=true",
        "watch=1&sendInitialEvents=true&timeoutSeconds=1",
        "watch=1&sendInitialEvents=false&timeoutSeconds=1",
        "watch=1&resourceVersionMatch=Exact&timeoutSeconds=1",
        "watch=1&resourceVersionMatch=NotOlderThan&timeoutSeconds=1",
        "watch=1&resourceVersion=word&timeoutSeconds=1",
        "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&timeoutSeconds=1",
        "watch=1&fieldSelector=x%3Dy&timeoutSeconds=1",
        "watch=1&labelSelector=%21%21&timeoutSeconds=1",
        "watch=1&limit=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dnope",
        "allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnope",
    ):
        d.ask("GET", f"{MAPS}?labelSelector=page&{query}" if "labelSelector" not in query else f"{MAPS}?{query}", what=f"list with {query}")
    for query in ("resourceVersion=0", "resourceVersion=word", "resourceVersion=99999999"):
        d.ask("GET", f"{MAPS}/pa?{query}")


def across(d: Duel) -> None:
    d.ask("GET", "/api/v1/configmaps?labelSelector=page")
    d.ask("GET", "/api/v1/namespaces/absent/configmaps")
    d.ask("GET", f"{MAPS}?labelSelector=page", accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    d.ask("GET", f"{MAPS}/pa", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    d.ask("GET", f"{MAPS}/pa", accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    d.ask("GET", f"{MAPS}/pa", accept="application/json;as=Strange;v=v1;g=meta.k8s.io")
    d.ask("GET", f"{MAPS}/pa", accept="application/json;as=Table;v=v9;g=meta.k8s.io,application/json")
