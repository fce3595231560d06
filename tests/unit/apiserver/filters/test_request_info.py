"""What a request asks for, read off its path."""

import pytest

from apiserver.filters.request_info import parse
from apiserver.machinery.status import ApiError


@pytest.mark.parametrize(
    ("method", "path", "verb", "where"),
    [
        ("GET", "/api/v1/pods", "list", ("", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/d/pods/", "list", ("", "v1", "d", "pods", "", "")),
        ("GET", "/api/v1/namespaces/d/pods?watch=true", "watch", ("", "v1", "d", "pods", "", "")),
        ("GET", "/api/v1/watch/namespaces/d/pods", "watch", ("", "v1", "d", "pods", "", "")),
        ("GET", "/api/v1/namespaces/d/pods?watch=0", "list", ("", "v1", "d", "pods", "", "")),
        ("GET", "/apis/apps/v1/namespaces/d/deployments/a/scale", "get", ("apps", "v1", "d", "deployments", "a", "scale")),
        ("DELETE", "/api/v1/namespaces/d/pods", "deletecollection", ("", "v1", "d", "pods", "", "")),
        ("PATCH", "/api/v1/nodes/n/status", "patch", ("", "v1", "", "nodes", "n", "status")),
        ("GET", "/api/v1/namespaces/d", "get", ("", "v1", "d", "namespaces", "d", "")),
        ("PUT", "/api/v1/namespaces/d/finalize", "update", ("", "v1", "d", "namespaces", "d", "finalize")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list", ("", "v1", "", "pods", "x", "")),
        ("GET", "/healthz", "get", ("", "", "", "", "", "")),
        ("GET", "/apis/apps/v1", "get", ("", "", "", "", "", "")),
    ],
)
def test_paths(method, path, verb, where):
    info, _ = parse(method, path)
    assert info.verb == verb
    assert (info.group, info.version, info.namespace, info.resource, info.name, info.subresource) == where


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/../secrets",
        "/api/v1/namespaces/%2e%2e/secrets/x",
        "/api/v1/namespaces/a%2fb/secrets",
        "/api/v1//secrets",
        "/api/v1/namespaces/d/pods/a/status/more",
        "/api/v1/namespaces/d/pods/a%00",
    ],
)
def test_tricks_are_refused(path):
    with pytest.raises(ApiError):
        parse("GET", path)


def test_what_is_proxied_keeps_its_path_as_it_came():
    info, _ = parse("GET", "/api/v1/namespaces/d/services/web:80/proxy/a//b%2fc/../d?x=1")
    assert (info.name, info.subresource, info.tail) == ("web:80", "proxy", "a//b%2fc/../d")
