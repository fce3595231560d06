"""The custom resources that requests are about. Each holds one of everything that a schema can say."""

from typing import Any

GROUP = "oracle.example.com"
Object = dict[str, Any]


def _string(**more: Any) -> Object:
    return {"type": "string", **more}


def _integer(**more: Any) -> Object:
    return {"type": "integer", **more}


def _list(items: Object, **more: Any) -> Object:
    return {"type": "array", "items": items, **more}


def _object(properties: Object, **more: Any) -> Object:
    return {"type": "object", "properties": properties, **more}


def _rule(rule: str, message: str = "", **more: Any) -> Object:
    return {"rule": rule, **({"message": message} if message else {}), **more}


PORT = _object(
    {"port": _integer(format="int32", minimum=1, maximum=65535), "protocol": _string(default="TCP"), "name": _string(maxLength=6)}, required=["port"]
)
CONDITION = _object({"type": _string(), "status": _string(enum=["True", "False", "Unknown"]), "reason": _string()}, required=["type", "status"])

SPEC = _object(
    {
        "replicas": _integer(default=1, minimum=0, maximum=10, format="int32"),
        "color": _string(enum=["red", "green", "blue"], default="red"),
        "size": {"x-kubernetes-int-or-string": True},
        "title": _string(maxLength=12, minLength=1, pattern="^[a-z ]*$"),
        "mode": {**_string(), "x-kubernetes-validations": [_rule("self == oldSelf", "mode is immutable")]},
        "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "multipleOf": 0.5},
        "big": _integer(format="int64"),
        "flag": {"type": "boolean"},
        "tags": _list(_string(maxLength=8), maxItems=4, minItems=1, **{"x-kubernetes-list-type": "set"}),
        "ports": _list(PORT, maxItems=5, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"]}),
        "plain": _list(_integer(maximum=100), maxItems=4),
        "bag": {"type": "object", "additionalProperties": _string(maxLength=5), "maxProperties": 3},
        "atomic": {**_object({"a": _string(), "b": _integer()}), "x-kubernetes-map-type": "atomic"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        "maybe": _string(nullable=True, maxLength=3),
        "when": _string(format="date-time"),
        "day": _string(format="date"),
        "address": _string(format="ipv4"),
        "blob": _string(format="byte"),
        "nested": {
            **_object(
                {"must": _string(), "other": _integer(default=7), "deep": _object({"x": _integer(minimum=1)}, required=["x"])}, required=["must"]
            ),
            "x-kubernetes-validations": [_rule("!has(self.other) || self.other != 13", "thirteen is unlucky", fieldPath=".other")],
        },
        "one": {
            **_object({"a": _string(), "b": _string()}),
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        "low": _integer(),
        "high": _integer(),
    },
    **{
        "x-kubernetes-validations": [
            _rule("!has(self.low) || !has(self.high) || self.low <= self.high", "low must not be above high"),
            _rule(
                "!has(self.high) || self.high < 1000",
                reason="FieldValueForbidden",
                fieldPath=".high",
                messageExpression="'high is ' + (self.high > 2000 ? 'far ' : '') + 'too much'",
            ),
            _rule("self.replicas >= oldSelf.replicas - 3", "not more than three at once"),
            _rule("!has(self.tags) || !('no' in self.tags)"),
        ]
    },
)
STATUS = _object(
    {
        "replicas": _integer(),
        "selector": _string(),
        "phase": _string(enum=["Up", "Down"]),
        "conditions": _list(CONDITION, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
    }
)
COLUMNS = [
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1, "description": "what it looks like"},
    {"name": "Tags", "type": "string", "jsonPath": ".spec.tags"},
    {"name": "Ports", "type": "integer", "jsonPath": ".spec.ports[*].port"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "When", "type": "date", "jsonPath": ".spec.when"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}


def _version(name: str, schema: Object, **more: Any) -> Object:
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **more}


def definition(plural: str, kind: str, scope: str, versions: list[Object], **names: Any) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": {"plural": plural, "kind": kind, **names}, "versions": versions},
    }


def widgets() -> Object:
    schema = _object({"spec": SPEC, "status": STATUS}, required=["spec"])
    subresources = {"status": {}, "scale": SCALE}
    fields = [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.replicas"}]
    newest = _version("v1", schema, subresources=subresources, additionalPrinterColumns=COLUMNS, selectableFields=fields)
    older = {**newest, "name": "v1beta1", "deprecated": True, "storage": False}
    return definition("widgets", "Widget", "Namespaced", [newest, older], shortNames=["wd"], categories=["all", "things"])


def gadgets() -> Object:
    """Cluster-wide, without a status subresource; all fields are kept; the name is restricted."""
    schema = {
        **_object({"data": {"type": "object", "additionalProperties": {"type": "string"}}, "count": _integer(minimum=0)}),
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-validations": [_rule("!self.metadata.name.startsWith('bad')", "bad names are bad")],
    }
    return definition("gadgets", "Gadget", "Cluster", [_version("v1alpha1", schema)])


DEFINITIONS = (widgets(), gadgets())
