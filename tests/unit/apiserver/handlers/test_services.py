"""Addresses and ports of services: nobody gets what another has, and what goes comes back."""

SERVICES = "/api/v1/namespaces/default/services"


def service(name, **spec):
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def test_every_service_gets_its_own_address(served):
    async def test(api):
        found = [(await api.post(SERVICES, service(f"s{number}")))[1]["spec"] for number in range(4)]
        assert len({each["clusterIP"] for each in found}) == 4
        assert all(each["clusterIPs"] == [each["clusterIP"]] and each["ipFamilies"] == ["IPv4"] for each in found)
        _, addresses = await api.get("/apis/networking.k8s.io/v1/ipaddresses")
        assert {each["metadata"]["name"] for each in addresses["items"]} == {each["clusterIP"] for each in found}

    served(test)


def test_an_address_of_ones_choice(served):
    async def test(api):
        code, made = await api.post(SERVICES, service("a", clusterIP="10.96.0.10"))
        assert (code, made["spec"]["clusterIP"]) == (201, "10.96.0.10")
        code, status = await api.post(SERVICES, service("b", clusterIP="10.96.0.10"))
        assert (code, "provided IP is already allocated" in status["message"]) == (422, True)
        code, status = await api.post(SERVICES, service("b", clusterIP="10.97.0.10"))
        assert (code, "is not in the valid range. The range of valid IPs is 10.96.0.0/24" in status["message"]) == (422, True)
        _, none = await api.post(SERVICES, service("c", clusterIP="None"))
        assert none["spec"]["clusterIPs"] == ["None"]

    served(test)


def test_what_goes_comes_back(served):
    async def test(api):
        await api.post(SERVICES, service("a", type="NodePort", clusterIP="10.96.0.10", ports=[{"port": 80, "nodePort": 30003}]))
        await api.delete(f"{SERVICES}/a")
        code, made = await api.post(SERVICES, service("b", type="NodePort", clusterIP="10.96.0.10", ports=[{"port": 80, "nodePort": 30003}]))
        assert (code, made["spec"]["ports"][0]["nodePort"]) == (201, 30003)

    served(test)


def test_a_refused_service_holds_nothing(served):
    async def test(api):
        await api.post(SERVICES, service("a", type="NodePort", ports=[{"port": 80, "nodePort": 30003}]))
        code, _ = await api.post(SERVICES, service("b", type="NodePort", clusterIP="10.96.0.10", ports=[{"port": 80, "nodePort": 30003}]))
        assert code == 422
        assert (await api.post(SERVICES, service("a", clusterIP="10.96.0.11")))[0] == 409
        for address in ("10.96.0.10", "10.96.0.11"):
            assert (await api.post(SERVICES, service(f"c{address[-1]}", clusterIP=address)))[0] == 201

    served(test)


def test_an_update_keeps_and_a_change_of_type_gives_back(served):
    async def test(api):
        _, made = await api.post(SERVICES, service("a", type="NodePort"))
        port = made["spec"]["ports"][0]["nodePort"]
        _, same = await api.put(f"{SERVICES}/a", service("a", type="NodePort"))
        assert same["spec"]["ports"][0]["nodePort"] == port
        assert same["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        _, less = await api.patch(f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}})
        assert "nodePort" not in less["spec"]["ports"][0]
        code, _ = await api.post(SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}]))
        assert code == 201

    served(test)


def test_a_full_range_is_told(served):
    async def test(api):
        for number in range(11):
            assert (await api.post(SERVICES, service(f"s{number}", type="NodePort")))[0] == 201
        code, status = await api.post(SERVICES, service("more", type="NodePort"))
        assert (code, status["message"]) == (500, "failed to allocate a nodePort: range is full")

    served(test)


def test_a_dry_run_takes_nothing(served):
    async def test(api):
        code, made = await api.post(f"{SERVICES}?dryRun=All", service("a", type="NodePort", clusterIP="10.96.0.10"))
        assert (code, bool(made["spec"]["ports"][0]["nodePort"])) == (201, True)
        assert (await api.get("/apis/networking.k8s.io/v1/ipaddresses"))[1]["items"] == []

    served(test)
