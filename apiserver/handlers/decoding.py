"""From the bytes of a request to an object: JSON, YAML and protobuf, none of which may be made to hurt the server.

JSON is bounded by its size and its depth. YAML's aliases are refused, because ten lines of them can stand for more memory than
there is; its dates stay the text they are, and keys become text, as in sigs.k8s.io/yaml.
"""

import asyncio
import math
from typing import Any

import msgspec
import yaml

from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError, bad_request
from apiserver.registry import protobuf

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
AT_ONCE_BYTES_MAX = 32 << 10
DEPTH_MAX = 500
"""Deeper than any object that makes sense, and far from what the decoders' stacks take."""


class _Loader(yaml.CSafeLoader):
    """Dates stay text: Kubernetes' own times are strings."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads it off the class
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


async def decode(body: bytes, content_type: str, unknown: list[str] | None = None) -> tuple[Object, bytes | None]:
    """The object, and its JSON if that is how it came. `unknown` is told fields that have no name in JSON.

    Raises ApiError: 400 for what is none, 415 for other media types."""
    kind = media_type(content_type) or JSON
    if not body:
        raise bad_request("couldn't get version/kind; json parse error: unexpected end of JSON input")
    if kind == JSON:
        return _object(from_json(body)), body
    if kind in (YAML, "application/x-yaml", "text/yaml"):
        return _object(await from_yaml(body)), None
    if kind == PROTOBUF:
        return protobuf.decode(body, unknown), None
    raise unsupported(content_type, [JSON, YAML, PROTOBUF])


def unsupported(content_type: str, supported: list[str]) -> ApiError:
    return ApiError(
        "UnsupportedMediaType", f"the body of the request was in an unknown format - accepted media types include: {', '.join(supported)}"
    )


def from_json(body: bytes) -> Any:
    """Raises ApiError (400)."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise bad_request("the object is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        told = "unexpected end of JSON input" if "truncated" in str(error) else str(error)
        raise bad_request(f"couldn't get version/kind; json parse error: {told}") from None


async def from_yaml(body: bytes) -> Any:
    """Raises ApiError (400). A megabyte takes a second: what is large is read beside the loop, which serves everybody else meanwhile."""
    return _from_yaml(body) if len(body) <= AT_ONCE_BYTES_MAX else await asyncio.to_thread(_from_yaml, body)


def _from_yaml(body: bytes) -> Any:
    try:
        _check_events(body)
        return _plain(yaml.load(body, Loader=_Loader))
    except (yaml.YAMLError, ValueError, KeyError, RecursionError) as error:  # KeyError: of `!!bool maybe`
        raise bad_request(f"error converting YAML to JSON: {str(error)[:1000]}") from None


def _check_events(body: bytes) -> None:
    depth = documents = 0
    for event in yaml.parse(body, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise bad_request("YAML aliases are not allowed")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise bad_request("one YAML document was expected")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise bad_request(f"the object is nested deeper than {DEPTH_MAX} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    if isinstance(value, (bytes, set)):
        raise ValueError("binary values and sets have no JSON")
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (int, float)):
        return str(key)
    raise ValueError(f"a map's key must be text: {key!r}")


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise bad_request("couldn't get version/kind; json parse error: an object was expected")
    return value
