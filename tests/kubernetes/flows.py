"""What users of each library typically do, as programs of their own: they leave sockets open that a strict test process would be blamed for.

python flows.py LIBRARY KUBECONFIG NAMESPACE
"""

import sys
from typing import Any


def deployment(name: str, namespace: str) -> dict[str, Any]:
    container = {"name": "web", "image": "keelson/web:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def official(kubeconfig: str, namespace: str) -> None:
    from kubernetes import client, config, utils, watch
    from kubernetes.stream import stream

    config.load_kube_config(kubeconfig)
    with client.ApiClient() as api:
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        utils.create_from_dict(api, deployment("official", namespace), namespace=namespace)
        for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, field_selector="metadata.name=official", timeout_seconds=60):
            if event["object"].status.ready_replicas == 1:
                break
        else:
            raise AssertionError("the deployment did not become ready")
        pods = core.list_namespaced_pod(namespace, label_selector="app=official").items
        assert [pod.status.phase for pod in pods] == ["Running"]
        pod = pods[0].metadata.name
        assert stream(core.connect_get_namespaced_pod_exec, pod, namespace, command=["echo", "hi"], stdout=True, stderr=True).strip() == "hi"
        assert core.read_namespaced_pod_log(pod, namespace) is not None
        apps.patch_namespaced_deployment_scale("official", namespace, {"spec": {"replicas": 0}})
        assert apps.read_namespaced_deployment("official", namespace).spec.replicas == 0
        try:
            core.read_namespaced_pod("nobody", namespace)
        except client.ApiException as error:
            assert error.status == 404
        else:
            raise AssertionError("nobody was found")
        apps.delete_namespaced_deployment("official", namespace)


def kr8s(kubeconfig: str, namespace: str) -> None:
    import kr8s
    from kr8s.objects import Deployment, Pod

    api = kr8s.api(kubeconfig=kubeconfig, namespace=namespace)
    made = Deployment(deployment("kr8s", namespace), api=api)
    made.create()
    made.wait("condition=Available", timeout=60)
    pods = list(api.get("pods", namespace=namespace, label_selector={"app": "kr8s"}))
    assert len(pods) == 1
    assert isinstance(pods[0], Pod)
    assert pods[0].exec(["echo", "hi"]).stdout.decode().strip() == "hi"
    made.scale(2)
    made.label({"seen": "yes"})
    made.refresh()
    assert made.labels["seen"] == "yes"
    made.delete()


def lightkube(kubeconfig: str, namespace: str) -> None:
    from lightkube import Client, KubeConfig, codecs
    from lightkube.core.exceptions import ApiError
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(kubeconfig), namespace=namespace, field_manager="lightkube-test")
    client.apply(codecs.from_dict(deployment("light", namespace)), force=True)
    client.wait(Deployment, "light", for_conditions=["Available"])
    changed = client.patch(Deployment, "light", {"metadata": {"labels": {"a": "b"}}})
    assert changed.metadata.labels["a"] == "b"
    try:
        client.get(ConfigMap, "nobody")
    except ApiError as error:
        assert error.status.reason == "NotFound"
    else:
        raise AssertionError("nobody was found")
    client.delete(Deployment, "light")


FLOWS = {flow.__name__: flow for flow in (official, kr8s, lightkube)}

if __name__ == "__main__":
    FLOWS[sys.argv[1]](*sys.argv[2:])
    print("done")
