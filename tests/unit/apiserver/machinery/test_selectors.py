"""Label and field selectors: the grammar, asking, printing again, and Kubernetes' words for what is wrong."""

import pytest

from apiserver.machinery.resources import resource
from apiserver.machinery.selectors import from_label_selector, parse_fields, parse_labels, to_label_selector
from apiserver.machinery.status import ApiError

LABELS = {"app": "web", "tier": "front", "n": "5", "example.com/x": ""}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app!=web", False),
        ("other!=web", True),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("other notin (web)", True),
        ("app", True),
        ("!app", False),
        ("!other,app", True),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
        ("example.com/x=", True),
        ("example.com/x in (,a)", True),
        ("app in (db,)", False),
        ("example.com/x in ()", True),
        ("app in ()", False),
        ("app=in", False),
    ],
)
def test_asking(text: str, holds: bool) -> None:
    selector = parse_labels(text)
    assert selector.matches(LABELS) is holds
    assert parse_labels(str(selector)) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b,", "found '', expected: identifier after ','"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_labels(text)
    assert str(caught.value) == message


def test_a_bad_key_is_named() -> None:
    with pytest.raises(ValueError, match='unable to parse requirement: key: Invalid value: "-a": name part must consist of'):
        parse_labels("-a=b")


def test_objects() -> None:
    assert not from_label_selector(None).matches({})
    assert from_label_selector({}).matches({})
    obj = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}, {"key": "n", "operator": "Exists"}],
    }
    selector = from_label_selector(obj)
    assert selector.matches(LABELS)
    assert str(selector) == "app=web,n,tier notin (back)"
    assert from_label_selector(to_label_selector(selector)) == selector
    with pytest.raises(ValueError, match='"Near" is not a valid label selector operator'):
        from_label_selector({"matchExpressions": [{"key": "a", "operator": "Near"}]})


POD = {"metadata": {"name": "a", "namespace": "default"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("metadata.name=a,", True),
        ("metadata.name==a,spec.nodeName=n1", True),
        ("status.phase!=Succeeded,status.phase!=Failed", True),
        ("spec.nodeName!=n1", False),
        ("spec.hostNetwork=false", True),
        ("status.nominatedNodeName=", True),
    ],
)
def test_fields(text: str, holds: bool) -> None:
    selector = parse_fields(text)
    selector.check(resource("pods"))
    assert selector.matches(POD) is holds
    assert parse_fields(str(selector)) == selector


def test_escapes() -> None:
    assert parse_fields(r"metadata.name=a\,b\=c").exact("metadata.name") == "a,b=c"
    with pytest.raises(ValueError, match=r"can't understand 'metadata\.name'"):
        parse_fields("metadata.name")


@pytest.mark.parametrize(
    ("plural", "field", "message"),
    [
        ("pods", "spec.foo", "field label not supported: spec.foo"),
        ("deployments.apps", "spec.foo", '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("jobs.batch", "spec.foo", 'field label "spec.foo" not supported for Job'),
    ],
)
def test_unsupported_fields(plural: str, field: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_fields(f"{field}=x").check(resource(plural))
    assert (caught.value.code, caught.value.message) == (400, message)


def test_events_are_selected_in_both_forms() -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"name": "a"}, "source": {}, "reportingComponent": "kubelet"}
    assert parse_fields("source=kubelet,involvedObject.name=a,reportingComponent=kubelet").matches(event)
