"""componentstatuses: what is asked, and how the answer looks."""

import asyncio
import socket
from datetime import UTC, datetime

from aiohttp import web

from apiserver.handlers import computed
from apiserver.handlers.component_status import ComponentStatuses, Health, page_health, probes
from apiserver.registry import columns
from tests.support.api_server import ApiServer

METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PATH = "/api/v1/componentstatuses"


def found(health):
    async def probe():
        return health

    return probe


def test_what_is_told(tmp_path):
    async def test():
        statuses = ComponentStatuses({"scheduler": found(Health(False, "refused")), "etcd-0": found(Health(True, "ok"))})
        async with ApiServer(str(tmp_path / "s")) as api:
            api.app.sources["componentstatuses"] = computed.handlers(statuses.get, statuses.list)
            code, listed = await api.get(PATH)
            assert (code, listed["kind"]) == (200, "ComponentStatusList")
            good, bad = listed["items"]
            assert good == {
                "kind": "ComponentStatus",
                "apiVersion": "v1",
                "metadata": {"name": "etcd-0"},
                "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
            }
            assert bad["conditions"] == [{"type": "Healthy", "status": "False", "message": "refused"}]
            assert await api.get(f"{PATH}/scheduler") == (200, bad)
            code, refused = await api.get(f"{PATH}/none")
            assert (code, refused["message"], refused.get("reason")) == (500, "Component not found: none", None)
            for query, names in (
                ("fieldSelector=metadata.name=scheduler", ["scheduler"]),
                ("labelSelector=a=b", []),
                ("limit=1", ["etcd-0", "scheduler"]),
            ):
                assert [each["metadata"]["name"] for each in (await api.get(f"{PATH}?{query}"))[1]["items"]] == names
            assert (await api.get(f"{PATH}?watch=1"))[0] == 405 and (await api.delete(f"{PATH}/scheduler"))[0] == 405
            (entry,) = [each for each in (await api.get("/api/v1"))[1]["resources"] if each["name"] == "componentstatuses"]
            assert entry["verbs"] == ["get", "list"]
            _, partial = await api.get(PATH, Accept=METADATA)
            assert (partial["kind"], len(partial["items"])) == ("PartialObjectMetadataList", 2)

    asyncio.run(test())


def test_how_it_is_shown():
    printer = columns.printer("componentstatuses")
    assert [each.name for each in printer.columns] == ["Name", "Status", "Message", "Error"]
    for condition, cells in (
        ({"type": "Healthy", "status": "True", "message": "ok"}, ["Healthy", "ok", ""]),
        ({"type": "Healthy", "status": "False", "error": "too late"}, ["Unhealthy", "", "too late"]),
        ({"type": "Other", "status": "True"}, ["Unknown", "", ""]),
    ):
        assert printer.cells({"metadata": {"name": "etcd-0"}, "conditions": [condition]}, datetime.now(UTC)) == ["etcd-0", *cells]


def test_a_page_that_answers_one_that_complains_and_one_that_is_not_there():
    async def answer(request):
        return web.Response(status=int(request.match_info["code"]), text="ok")

    async def test():
        app = web.Application()
        app.router.add_get("/{code}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            with socket.socket() as held:
                held.bind(("127.0.0.1", 0))  # and nobody listens
                port = held.getsockname()[1]
                gone = f"http://127.0.0.1:{port}/healthz"
                assert await page_health(f"{url}/200") == Health(True, "ok")
                assert await page_health(f"{url}/500") == Health(False, "HTTP probe failed with statuscode: 500")
                assert await page_health(gone) == Health(False, f'Get "{gone}": dial tcp 127.0.0.1:{port}: connect: connection refused')
                made = probes({"one": [gone, f"{url}/200"], "none": [gone, f"{url}/500"]}, (), None)
                assert (await made["one"]()).good, "another instance is well"
                assert "refused" in (await made["none"]()).message
        finally:
            await runner.cleanup()

    asyncio.run(test())
