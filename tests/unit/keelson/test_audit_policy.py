from pathlib import Path

import pytest

from apiserver.filters import audit_policy as reader
from apiserver.filters import request_info
from apiserver.request import User
from keelson.launcher import audit_policy


@pytest.mark.parametrize(
    ("user", "method", "path", "level"),
    [
        (User("ann"), "POST", "/api/v1/namespaces/ns/configmaps", "Metadata"),
        (User("ann"), "GET", "/api/v1/namespaces/ns/configmaps", "None"),
        (User("ann"), "GET", "/api/v1/namespaces/ns/secrets/s", "Metadata"),
        (User("ann"), "POST", "/api/v1/namespaces/ns/serviceaccounts/a/token", "Metadata"),
        (User("system:kube-scheduler"), "POST", "/api/v1/namespaces/ns/pods/p/binding", "Metadata"),
        (User("system:kube-scheduler"), "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", "None"),
        (User("system:node:n", ("system:nodes",)), "PATCH", "/api/v1/namespaces/ns/pods/p/status", "None"),
        (User("system:node:n", ("system:nodes",)), "DELETE", "/api/v1/namespaces/ns/pods/p", "Metadata"),
        (User("system:anonymous"), "GET", "/readyz", "None"),
    ],
)
def test_who_changed_what_and_every_look_at_secrets(tmp_path: Path, user: User, method: str, path: str, level: str) -> None:
    assert audit_policy.ensure(tmp_path)
    policy = reader.read(tmp_path / audit_policy.NAME)
    assert policy.of(user, request_info.parse(method, path)[0])[0] == level


def test_an_operator_s_policy_stays(tmp_path: Path) -> None:
    (tmp_path / audit_policy.NAME).write_text("mine")
    assert not audit_policy.ensure(tmp_path)
    assert (tmp_path / audit_policy.NAME).read_text() == "mine"
