"""What pods alone have: binding, eviction, grace periods, ephemeral containers."""

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def run_pod(api, name, node="n", ready=True):
    await api.post(PODS, {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    if node:
        await bind(api, name, node)
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    await api.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running", "conditions": conditions}})


async def bind(api, name, node, **meta):
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, **meta}, "target": {"kind": "Node", "name": node}}
    return await api.post(f"{PODS}/{name}/binding", body)


async def evict(api, name):
    return await api.post(f"{PODS}/{name}/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})


def test_a_pod_is_bound_once(served):
    async def test(api):
        await run_pod(api, "p", node="")
        assert (await bind(api, "p", "n", uid="other"))[0] == 409
        code, status = await bind(api, "p", "n")
        assert (code, status["status"]) == (201, "Success")
        _, pod = await api.get(f"{PODS}/p")
        assert pod["spec"]["nodeName"] == "n"
        assert {"type": "PodScheduled", "status": "True"}.items() <= pod["status"]["conditions"][-1].items()
        code, status = await bind(api, "p", "m")
        assert (code, status["message"]) == (409, 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"')
        assert (await bind(api, "q", "n"))[0] == 404
        assert (await bind(api, "p", ""))[0] == 422

    served(test)


def test_a_budget_lets_as_many_go_as_it_has(served):
    async def test(api):
        for name in ("p", "q"):
            await run_pod(api, name)
        await api.post(BUDGETS, {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}})
        code, status = await evict(api, "p")
        assert (code, status["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")  # its controller has not looked yet
        told = {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
        await api.patch(f"{BUDGETS}/b/status", {"status": told})
        assert (await evict(api, "p"))[0] == 201
        _, budget = await api.get(f"{BUDGETS}/b")
        assert (budget["status"]["disruptionsAllowed"], list(budget["status"]["disruptedPods"])) == (0, ["p"])
        code, status = await evict(api, "q")
        assert (code, status["message"]) == (429, "Cannot evict pod as it would violate the pod's disruption budget.")
        assert status["details"]["causes"][0]["message"] == "The disruption budget b needs 1 healthy pods and has 2 currently"
        assert (await api.get(f"{PODS}/q"))[0] == 200

    served(test)


def test_without_a_budget_a_pod_goes(served):
    async def test(api):
        await run_pod(api, "p")
        assert (await evict(api, "p"))[0] == 201
        code, status = await evict(api, "r")
        assert (code, status["reason"]) == (404, "NotFound")

    served(test)


def test_an_ephemeral_container_stays_once_it_is_there(served):
    async def test(api):
        await run_pod(api, "p")
        path = f"{PODS}/p/ephemeralcontainers"
        kind = "application/strategic-merge-patch+json"
        code, pod = await api.patch(path, {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}], "nodeName": "other"}}, kind)
        assert (code, pod["spec"]["ephemeralContainers"][0]["name"], pod["spec"]["nodeName"]) == (200, "d", "n")
        code, status = await api.patch(path, {"spec": {"ephemeralContainers": []}})
        assert (code, 'existing ephemeral containers "d" may not be removed' in status["message"]) == (422, True)

    served(test)


def test_the_old_way_to_bind(served):
    async def test(api):
        await run_pod(api, "p", node="")
        body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
        assert (await api.post("/api/v1/namespaces/default/bindings", body))[0] == 201
        assert (await api.get(f"{PODS}/p"))[1]["spec"]["nodeName"] == "n"

    served(test)
