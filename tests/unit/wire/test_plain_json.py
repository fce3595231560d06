"""The quick way between JSON and protobuf against protobuf's own: the same results, or none."""

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from kvstore.wire import gateway, messages, plain_json
from kvstore.wire.messages import METHODS
from kvstore.wire.status import RpcError

KINDS = sorted({kind for method in METHODS.values() for kind in (method.request, method.response)}, key=lambda kind: kind.DESCRIPTOR.full_name)
DEPTH_MAX = 3
_INTEGERS = {
    FieldDescriptor.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
}


def values(field: Any, depth: int) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        one = contents(field.message_type, depth + 1)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        one = st.sampled_from(sorted(field.enum_type.values_by_number)) | st.integers(90, 99)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        one = st.binary(max_size=9)
    elif field.type == FieldDescriptor.TYPE_STRING:
        one = st.text(max_size=5)
    elif field.type == FieldDescriptor.TYPE_BOOL:
        one = st.booleans()
    else:
        one = _INTEGERS[field.type]
    return st.lists(one, max_size=3) if field.is_repeated else one


def contents(descriptor: Any, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """What a message of this type may hold; of a oneof at most one member."""
    fields = [field for field in descriptor.fields if depth < DEPTH_MAX or field.message_type is None]
    if descriptor.GetOptions().map_entry or any(field.message_type is not None and field.message_type.GetOptions().map_entry for field in fields):
        return st.just({})
    chosen = st.sets(st.sampled_from(fields), max_size=4) if fields else st.just(set())

    def draw(wanted: Any) -> st.SearchStrategy[dict[str, Any]]:
        by_oneof = {id(field.containing_oneof) if field.containing_oneof else field.name: field for field in wanted}
        return st.fixed_dictionaries({field.name: values(field, depth) for field in by_oneof.values()})

    return chosen.flatmap(draw)


@given(st.data())
def test_written_as_protobuf_writes_it_and_read_back(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    message = kind(**data.draw(contents(kind.DESCRIPTOR)))
    expected = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert plain_json.write(message) == expected
    assert json.loads(gateway.write_json(message)) == expected
    assert gateway.parse_json(kind, json.dumps(expected)) == message
    assert gateway.parse_request(kind, json.dumps(expected) + " trailing") == message


_ODD_TEXTS = ["", "1", "-1", "+1", "1e2", "\u0661", "YQ", "YQ==", "YQ=", "Y Q==", "_-__", "PUT", "KEY", "\ud800"]
_ODD = st.sampled_from([*_ODD_TEXTS, None, 0, -1, 1.0, 1.5, True, [], {}, [1], {"key": "YQ=="}, 1 << 64])


@given(st.data())
def test_what_is_taken_means_what_protobuf_says_it_means(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    names = [name for field in kind.DESCRIPTOR.fields for name in (field.name, field.camelcase_name)] + ["unknown", "größe"]
    content = data.draw(st.dictionaries(st.sampled_from(names), _ODD, max_size=4))
    try:
        quick = plain_json.read(kind, content)
    except plain_json.NotPlain:
        return
    slow = json_format.ParseDict(gateway._known_fields(kind.DESCRIPTOR, content), kind())
    assert quick == slow


def test_a_list_is_no_map() -> None:
    with pytest.raises(plain_json.NotPlain):
        plain_json.read(messages.HealthListResponse, {"statuses": []})


_WRONG = ['{"key":"YQ==","key":"YQ=="}', '{"key":"YQ==","prev_kv":true,"prevKv":true}', '{"key":', "[]", '{"key":5}', '{"lease":"x"}']


@pytest.mark.parametrize("text", _WRONG)
def test_what_is_wrong_stays_wrong(text: str) -> None:
    with pytest.raises(RpcError):
        gateway.parse_request(messages.PutRequest, text)
