"""Where a proxied request goes, and that it comes back as it was said: plain, redirected, upgraded."""

import asyncio
import random

import aiohttp
import pytest
from aiohttp import web

from apiserver.handlers.proxy import Named, Proxies, split
from apiserver.machinery.status import ApiError
from apiserver.streams.kubelets import Kubelets


class Objects:
    """A reader over a table."""

    def __init__(self, **objects):
        self.objects = objects

    def get(self, resource, namespace, name):
        return next((each for each in self.list(resource, namespace) if each["metadata"]["name"] == name), None)

    def list(self, resource, namespace=""):
        return self.objects.get(resource.split(".")[0], ())


def proxies(port=0, **objects):
    async def node(name):
        return None

    there = {"metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}
    return Proxies(Kubelets(node, None), Objects(nodes=[there], **objects), random.Random(1))


@pytest.mark.parametrize(
    ("text", "named"),
    [("a", Named("", "a", "")), ("a:80", Named("", "a", "80")), ("https:a:web", Named("https", "a", "web")), ("https:a:", Named("https", "a", ""))],
)
def test_names_with_scheme_and_port(text, named):
    assert split(text) == named


@pytest.mark.parametrize("text", ["", "ftp:a:1", "a:b:c:d", ":80"])
def test_what_is_no_name(text):
    with pytest.raises(ApiError, match="invalid request"):
        split(text)


def test_a_pods_first_port_is_meant():
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{}, {"ports": [{"containerPort": 8080}]}]}, "status": {"podIP": "10.244.1.2"}}
    assert str(proxies(pods=[pod]).target("pods", "d", "p").url) == "http://10.244.1.2:8080"
    assert str(proxies(pods=[pod]).target("pods", "d", "https:p:8443").url) == "https://10.244.1.2:8443"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "", "0.0.0.0", "::1"])
def test_a_pod_cannot_lead_into_this_machine(address):
    pod = {"metadata": {"name": "p"}, "spec": {"containers": []}, "status": {"podIP": address}}
    with pytest.raises(ApiError, match="address not allowed"):
        proxies(pods=[pod]).target("pods", "d", "p")


def slice_of(*ready, name="web"):
    endpoints = [{"addresses": [f"10.244.0.{number}"], "conditions": {"ready": each}} for number, each in enumerate(ready)]
    return {
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "endpoints": endpoints,
        "ports": [{"name": name, "port": 8080}],
    }


SERVICE = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}


@pytest.mark.parametrize("name", ["s:80", "s:web", "http:s:web"])
def test_a_service_leads_to_a_ready_endpoint(name):
    there = proxies(services=[SERVICE], endpointslices=[slice_of(False, True)])
    assert str(there.target("services", "d", name).url) == "http://10.244.0.1:8080"


@pytest.mark.parametrize(
    ("name", "ready", "message"),
    [
        ("s:81", True, 'no service port 81 found for service "s"'),
        ("s:80", False, 'no endpoints available for service "s"'),
        ("s", True, "no endpoints"),
    ],
)
def test_a_service_that_leads_nowhere(name, ready, message):
    with pytest.raises(ApiError, match=message) as refused:
        proxies(services=[SERVICE], endpointslices=[slice_of(ready)]).target("services", "d", name)
    assert refused.value.code == 503


def test_requests_come_back_as_they_were_answered():
    async def backend(request):
        if request.path == "/moved":
            raise web.HTTPFound(f"http://{request.host}/there?x=1")
        if request.headers.get("Upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str((await socket.receive_str()).upper())
            await socket.close()
            return socket
        said = {"path": request.path_qs, "body": await request.text(), "headers": dict(request.headers)}
        return web.json_response(said, status=201, headers={"X-Own": "yes"})

    async def run():
        behind = web.AppRunner(web.Application())
        behind.app.router.add_route("*", "/{rest:.*}", backend)
        await behind.setup()
        await web.TCPSite(behind, "127.0.0.1", 0).start()
        there = proxies()
        port = behind.addresses[0][1]

        async def front(request):
            path = request.rel_url.raw_path.removeprefix("/proxy")
            return await there.serve(request, "nodes", "", f"n:{port}", path)

        runner = web.ServerRunner(web.Server(front))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/proxy"
        try:
            async with aiohttp.ClientSession() as session:
                async with session.post(f"{url}/a%2Fb?q=1", data="text", headers={"Authorization": "Bearer secret"}) as answer:
                    said = await answer.json()
                    assert (answer.status, answer.headers["X-Own"], said["body"]) == (201, "yes", "text")
                    assert "Authorization" not in said["headers"]
                    assert said["headers"]["X-Forwarded-For"] == "127.0.0.1"
                    assert said["path"] == "/a%2Fb?q=1"
                async with session.get(f"{url}/moved", allow_redirects=False) as answer:
                    assert (answer.status, answer.headers["Location"]) == (302, "/proxy/there?x=1")
                async with session.get(url, allow_redirects=False) as answer:
                    assert (answer.status, answer.headers["Location"]) == (301, "/proxy/")
                async with session.ws_connect(f"{url}/socket") as socket:
                    await socket.send_str("hello")
                    assert await socket.receive_str() == "HELLO"
        finally:
            await there._kubelets.close()
            await runner.cleanup()
            await behind.cleanup()

    asyncio.run(run())
