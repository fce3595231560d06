"""Random requests about widgets and gadgets. Few names, so that requests meet; most values right, some just beside what the schema allows."""

import json
from typing import Any

from tests.kubernetes.oracle.definitions import GROUP
from tests.kubernetes.oracle.requests import APPLY, JSON, MERGE, PARTIAL, PARTIAL_LIST, PATCH, STRATEGIC, TABLE, Object, Request, ask
from tests.oracle.choosing import Seeded

NAMES = ("a", "b", "c")
NAMESPACES = ("one", "two")
MANAGERS = ("m1", "m2", "m3")
WIDGETS = f"/apis/{GROUP}/v1"
OLD_WIDGETS = f"/apis/{GROUP}/v1beta1"
GADGETS = f"/apis/{GROUP}/v1alpha1/gadgets"
LABELS = ("x", "y")

GOOD: dict[str, tuple[Any, ...]] = {
    "replicas": (1, 2, 3, 0, 10),
    "color": ("red", "green", "blue"),
    "size": (1, "50%", "x"),
    "title": ("hello", "a b"),
    "mode": ("fast", "slow"),
    "ratio": (0.5, 2.5),
    "big": (9007199254740993, -1),
    "flag": (True, False),
    "tags": (["a"], ["a", "b"], ["c", "a", "b"]),
    "ports": ([{"port": 80}], [{"port": 80}, {"port": 80, "protocol": "UDP"}], [{"port": 443, "name": "tls"}, {"port": 80, "name": "web"}]),
    "plain": ([], [1, 2], [2, 1, 2]),
    "bag": ({}, {"a": "1"}, {"a": "2", "b": "x"}),
    "atomic": ({"a": "x"}, {"b": 1}, {"a": "y", "b": 2}),
    "free": ({"x": {"y": [1, {"z": None}]}}, {}, {"n": 1.5}),
    "embedded": (
        {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t", "labels": {"a": "b"}}, "more": 1},
        {"apiVersion": "g/v1", "kind": "K", "metadata": {"generation": "1", "unknown": 1}},
    ),
    "maybe": ("abc", None),
    "when": ("2020-01-02T03:04:05Z",),
    "day": ("2020-01-02",),
    "address": ("10.0.0.1",),
    "blob": ("aGFsbG8=",),
    "nested": ({"must": "x"}, {"must": "y", "other": 12, "deep": {"x": 1}}),
    "one": ({"a": "1"}, {"b": "1"}),
    "low": (1, 5),
    "high": (3, 7),
}
BAD: dict[str, tuple[Any, ...]] = {
    "replicas": (-1, 11, "3", 1.5, None, 2**40),
    "color": ("pink", "", 1, None),
    "size": (1.5, True, None, [1]),
    "title": ("", "A", "far too long for that", 5, None),
    "mode": ([1], {}),
    "ratio": (0.0, -0.5, 0.3, "1"),
    "big": (2**63, "1", 1.5),
    "flag": ("true", 0),
    "tags": ([], ["a", "a"], ["no"], ["a", "b", "c", "d", "e"], ["much too long"], "a", [1], [None]),
    "ports": (
        [{"port": 80}, {"port": 80}],
        [{}],
        [{"port": 0}],
        [{"port": "80"}],
        [{"port": 80, "name": "too long"}],
        {},
        [1],
        [{"port": 80, "no": 1}],
    ),
    "plain": ([101], ["x"], [1, 2, 3, 4, 5], [None], {}),
    "bag": ({"a": "too long"}, {"a": 1}, {"a": "1", "b": "2", "c": "3", "d": "4"}, {"a": None}, []),
    "atomic": ({"a": 1}, {"c": 1}, []),
    "free": ([], "x", None),
    "embedded": (
        {},
        {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "T!"}},
        {"kind": "Thing"},
        {"apiVersion": "a/b/c", "kind": ""},
        {"apiVersion": "v1", "kind": "Thing", "metadata": {"labels": {"a b": "c"}}},
        {"apiVersion": "v1", "kind": "Thing", "metadata": {"labels": {"a": 1}}},
        [],
    ),
    "maybe": ("abcd", 1),
    "when": ("yesterday", "2020-01-02", "", 5),
    "day": ("2020-13-02", "x"),
    "address": ("10.0.0", "::1"),
    "blob": ("?", "a"),
    "nested": ({}, {"must": 1}, {"must": "x", "other": 13}, {"must": "x", "deep": {}}, {"must": "x", "deep": {"x": 0}}, {"other": 1, "no": 2}, None),
    "one": ({"a": "1", "b": "2"}, {}),
    "low": (8, 900),
    "high": (1000, 0),
    "unknown": (1, {"a": 1}, None),
}
STATUS: tuple[Any, ...] = (
    {"replicas": 1, "selector": "app=x", "phase": "Up"},
    {"phase": "Down", "conditions": [{"type": "Ready", "status": "True"}]},
    {"conditions": [{"type": "Ready", "status": "False", "reason": "R"}, {"type": "Other", "status": "Unknown"}]},
    {},
)
BAD_STATUS: tuple[Any, ...] = (
    {"phase": "Sideways"},
    {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Ready", "status": "True"}]},
    {"conditions": [{"status": "True"}]},
    {"replicas": "1"},
    {"unknown": 1},
    [],
    "x",
)
BAD_METADATA: tuple[Object, ...] = (
    {"labels": {"a b": "c"}},
    {"labels": {"a": "-c"}},
    {"labels": {"a": 1}},
    {"labels": []},
    {"labels": {"": "x", "/x": "y", "A.b/" + "z" * 64: "y"}},
    {"annotations": {"a b": "c"}},
    {"annotations": {"a": True}},
    {"finalizers": ["short"]},
    {"finalizers": ["a/b/c", ""]},
    {"finalizers": "x"},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": True}] * 2},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "x", "uid": "u"}]},
    {"name": "Upper"},
    {"name": "a" * 254},
    {"name": "a..b"},
    {"name": 5},
    {"namespace": "elsewhere"},
    {"generateName": "Bad-"},
    {"uid": "not-mine"},
    {"resourceVersion": "1"},
    {"resourceVersion": "x"},
    {"resourceVersion": "0"},
    {"generation": 9, "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x"},
    {"creationTimestamp": "never"},
    {"deletionTimestamp": "2001-01-01T00:00:00Z", "deletionGracePeriodSeconds": 5},
    {"managedFields": []},
    {"managedFields": [{"manager": "x", "operation": "Update"}]},
    {"unknown": 1},
)


class Generator:
    def __init__(self, chooser: Seeded) -> None:
        self.c = chooser

    def request(self) -> Request:
        makers = (
            (18, self.create),
            (9, self.get),
            (10, self.list),
            (13, self.update),
            (15, self.patch),
            (17, self.apply),
            (7, self.status),
            (5, self.scale),
            (7, self.delete),
            (2, self.delete_collection),
            (3, self.odd),
        )
        at = self.c.number(0, sum(weight for weight, _ in makers) - 1)
        for weight, make in makers:
            if at < weight:
                return make()
            at -= weight
        raise AssertionError("the weights were summed up")

    # --- parts

    def collection(self) -> str:
        if self.c.chance(20):
            return GADGETS
        return f"{OLD_WIDGETS if self.c.chance(12) else WIDGETS}/namespaces/{self.c.pick(NAMESPACES)}/widgets"

    def place(self) -> tuple[str, str]:
        return self.collection(), self.c.pick(NAMES)

    def options(self, *, bodies: bool = True) -> list[tuple[str, str]]:
        made: list[tuple[str, str]] = []
        if self.c.chance(12):
            made.append(("dryRun", "some" if self.c.chance(8) else "All"))
        if bodies and self.c.chance(40):
            made.append(("fieldValidation", "Loud" if self.c.chance(4) else self.c.pick(("Strict", "Warn", "Ignore"))))
        if bodies and self.c.chance(20):
            made.append(("fieldManager", "m" * 129 if self.c.chance(4) else self.c.pick(MANAGERS)))
        return made

    def spec(self, sparse: bool = False) -> Object:
        made = {name: self.c.pick(GOOD[name]) for name in GOOD if self.c.chance(8 if sparse else 18)}
        if self.c.chance(30):
            for _ in range(self.c.number(1, 3)):
                name = self.c.pick(list(BAD))
                made[name] = self.c.pick(BAD[name])
        return made

    def metadata(self, name: str) -> Object:
        made: Object = {"name": name}
        if self.c.chance(40):
            made["labels"] = {label: self.c.pick(("1", "2", "")) for label in LABELS if self.c.chance(60)}
        if self.c.chance(15):
            made["annotations"] = {"note": self.c.pick(("n", "m"))}
        if self.c.chance(8):
            made["finalizers"] = self.c.pick((["example.com/hold"], ["example.com/a", "example.com/b"]))
        if self.c.chance(5):
            made["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": self.c.pick(("u1", "u2"))}]
        if self.c.chance(9):
            made |= self.c.pick(BAD_METADATA)
        return made

    def body(self, collection: str, name: str, sparse: bool = False) -> Object:
        made: Object = {"metadata": self.metadata(name)}
        if collection == GADGETS:
            made |= {"apiVersion": f"{GROUP}/v1alpha1", "kind": "Gadget"}
            if self.c.chance(60):
                made["data"] = self.c.pick(
                    ({"a": "1"}, {"a": "2", "b": "3"}, {}, {"a": 1}, [], {"a": None}) if self.c.chance(15) else ({"a": "1"}, {"b": "3"})
                )
            if self.c.chance(40):
                made["count"] = self.c.pick((1, 2, 0, -1, "x") if self.c.chance(25) else (1, 2))
            if self.c.chance(30):
                made["extra"] = self.c.pick(({"deep": [1, 2]}, "text", None, 5))
        else:
            version = "v1beta1" if OLD_WIDGETS in collection else "v1"
            made |= {"apiVersion": f"{GROUP}/{version}", "kind": "Widget", "spec": self.spec(sparse)}
            if self.c.chance(10):
                made["status"] = self.c.pick(STATUS)
        if self.c.chance(4):
            made |= self.c.pick(
                ({"apiVersion": "v1"}, {"kind": "Other"}, {"apiVersion": ""}, {"kind": ""}, {"spec": None}, {"spec": []}, {"unknown": 1})
            )
        return made

    def text(self, body: Object) -> str:
        """JSON, now and then not quite."""
        made = json.dumps(body)
        if not self.c.chance(3):
            return made
        return self.c.pick(
            (
                made[:-1],
                made[:-1] + ', "kind": "Widget"}',
                made[:-1] + ', "spec": {"color": "red", "color": "blue"}}',
                "[]",
                "null",
                '"text"',
                "",
                "{}",
                made + made,
                made.replace(":", "", 1),
            )
        )

    def _yaml(self) -> str:
        return "application/yaml"

    # --- requests

    def create(self) -> Request:
        collection, name = self.place()
        body = self.body(collection, name)
        if collection == GADGETS and self.c.chance(6):
            body["metadata"]["name"] = "bad1"
        kind = JSON
        if self.c.chance(3):
            kind = self.c.pick((self._yaml(), "text/plain", MERGE))
        return ask("POST", collection, self.text(body), kind=kind, query=self.options(), subject=f"{collection}/{name}", accept=self._accept_one())

    def _accept_one(self) -> str:
        return self.c.pick((TABLE, PARTIAL, "application/yaml", "text/html", "*/*")) if self.c.chance(8) else JSON

    def get(self) -> Request:
        collection, name = self.place()
        query = [("resourceVersion", self.c.pick(("0", "{rv}", "x", "")))] if self.c.chance(15) else []
        return ask("GET", f"{collection}/{name}", query=query, accept=self.c.pick((TABLE, PARTIAL)) if self.c.chance(35) else JSON)

    def list(self) -> Request:
        collection = self.collection()
        if collection != GADGETS and self.c.chance(25):
            collection = f"{WIDGETS}/widgets"
        query: list[tuple[str, str]] = []
        if self.c.chance(35):
            query.append(
                (
                    "labelSelector",
                    self.c.pick(
                        (
                            "x=1",
                            "x",
                            "!x",
                            "x in (1,2)",
                            "x notin (1),y",
                            "x!=1",
                            "x==2",
                            "x>0",
                            "y=",
                            "=",
                            "x in",
                            "a b=c",
                            "x=1,,y",
                            "x=!",
                            "x in ()",
                        )
                    ),
                )
            )
        if self.c.chance(30):
            query.append(
                (
                    "fieldSelector",
                    self.c.pick(
                        (
                            "metadata.name=a",
                            "metadata.name!=a",
                            "spec.color=red",
                            "spec.replicas=1",
                            "spec.title=x",
                            "metadata.namespace=one",
                            "x",
                            "spec.color=",
                            "=a",
                        )
                    ),
                )
            )
        if self.c.chance(25):
            query.append(("limit", self.c.pick(("1", "2", "0", "-1", "x", "500"))))
            if self.c.chance(60):
                query.append(("continue", self.c.pick(("{continue}", "{continue}", "{continue}", "rubbish"))))
        if self.c.chance(15):
            query.append(("resourceVersion", self.c.pick(("0", "{from}", "", "x"))))
            if self.c.chance(40):
                query.append(("resourceVersionMatch", self.c.pick(("Exact", "NotOlderThan", "Other"))))
        accept = self.c.pick((TABLE, PARTIAL_LIST)) if self.c.chance(35) else JSON
        if accept == TABLE and self.c.chance(30):
            query.append(("includeObject", self.c.pick(("None", "Object", "Metadata", "Other"))))
        return ask("GET", collection, query=query, accept=accept)

    def update(self) -> Request:
        collection, name = self.place()
        body = self.body(collection, name)
        at = self.c.number(0, 9)
        if at < 6:
            body["metadata"].setdefault("resourceVersion", "{rv}")
        if at == 6:
            body["metadata"].setdefault("uid", "{uid}")
        if self.c.chance(4):
            body["metadata"]["name"] = "other"
        return ask("PUT", f"{collection}/{name}", self.text(body), query=self.options())

    def patch(self) -> Request:
        collection, name = self.place()
        query = self.options()
        if self.c.chance(4):
            query.append(("force", self.c.pick(("true", "false"))))
        if self.c.chance(45):
            return ask("PATCH", f"{collection}/{name}", self._json_patch(collection), kind=PATCH, query=query)
        body: Object = {}
        if self.c.chance(40):
            body["metadata"] = {"labels": {"x": self.c.pick(("1", None, "3"))}}
        if self.c.chance(8):
            body["metadata"] = self.c.pick(BAD_METADATA)
        if self.c.chance(8):
            body["metadata"] = {"finalizers": self.c.pick((None, [], ["example.com/hold"]))}
        if self.c.chance(70):
            body["data" if collection == GADGETS else "spec"] = {"a": self.c.pick(("1", None))} if collection == GADGETS else self._sparse()
        kind = self.c.pick((STRATEGIC, JSON, "application/unknown")) if self.c.chance(6) else MERGE
        return ask("PATCH", f"{collection}/{name}", self.text(body), kind=kind, query=query)

    def _sparse(self) -> Object:
        made: Object = {}
        for _ in range(self.c.number(1, 3)):
            name = self.c.pick(list(GOOD))
            made[name] = None if self.c.chance(20) else self.c.pick(BAD[name] if self.c.chance(25) else GOOD[name])
        return made

    def _json_patch(self, collection: str) -> str:
        spec = "/data" if collection == GADGETS else "/spec"
        paths = (
            f"{spec}/replicas",
            f"{spec}/color",
            f"{spec}/tags/-",
            f"{spec}/tags/0",
            f"{spec}/nope/x",
            "/metadata/labels",
            "/metadata/labels/x",
            "/metadata/name",
        )
        steps = []
        for _ in range(self.c.number(1, 3)):
            kind = self.c.pick(("add", "replace", "remove", "test", "move", "copy", "jump") if self.c.chance(30) else ("add", "replace"))
            path = self.c.pick(paths)
            step: Object = {"op": kind, "path": path}
            if kind in ("add", "replace", "test"):
                step["value"] = {"x": "1"} if path.endswith("labels") else self.c.pick((1, 2, "red", "a", "d", None))
            if kind in ("move", "copy"):
                step["from"] = self.c.pick(paths)
            steps.append(step)
        if self.c.chance(5):
            return self.c.pick(("{}", "[]", "[1]", '[{"op":"add"}]', "x", '[{"op":"add","path":"x","value":1}]', '[{"op":"remove","path":""}]'))
        return json.dumps(steps)

    def apply(self) -> Request:
        collection, name = self.place()
        body = self.body(collection, name, sparse=True)
        if self.c.chance(4):
            body["metadata"]["managedFields"] = [{"manager": "x"}]
        if self.c.chance(4):
            del body["metadata"]["name"]
        query = [("fieldManager", self.c.pick(MANAGERS))] if not self.c.chance(3) else []
        if self.c.chance(40):
            query.append(("force", self.c.pick(("true", "true", "true", "false", "1"))))
        if self.c.chance(25):
            query.append(("fieldValidation", self.c.pick(("Strict", "Warn", "Ignore"))))
        if self.c.chance(8):
            query.append(("dryRun", "All"))
        return ask("PATCH", f"{collection}/{name}", self.text(body), kind=APPLY, query=query)

    def status(self) -> Request:
        collection, name = self.place()
        path = f"{collection}/{name}/status"
        at = self.c.number(0, 9)
        subject = f"{collection}/{name}"
        if at < 2:
            return ask("GET", path, subject=subject, accept=self._accept_one())
        body = self.body(collection, name)
        if "spec" in body:
            body["spec"] = {"title": "ignored"}
        body["status"] = self.c.pick(BAD_STATUS if self.c.chance(25) else STATUS)
        if at < 5:
            if self.c.chance(60):
                body["metadata"].setdefault("resourceVersion", "{rv}")
            return ask("PUT", path, self.text(body), subject=subject, query=self.options())
        if at < 8:
            return ask("PATCH", path, {"status": body["status"], "spec": {"replicas": 9}}, kind=MERGE, subject=subject, query=self.options())
        return ask(
            "PATCH",
            path,
            {**body, "spec": {}},
            kind=APPLY,
            subject=subject,
            query=[("fieldManager", self.c.pick(MANAGERS)), ("force", self.c.pick(("true", "false")))],
        )

    def scale(self) -> Request:
        collection, name = self.place()
        path = f"{collection}/{name}/scale"
        subject = f"{collection}/{name}"
        at = self.c.number(0, 9)
        if at < 3:
            return ask("GET", path, subject=subject)
        wanted = self.c.pick((1, 2, 5, 0, 11, -1) if self.c.chance(40) else (1, 2, 5))
        if at < 6:
            metadata: Object = {"name": name if not self.c.chance(5) else "other"}
            if self.c.chance(50):
                metadata["resourceVersion"] = "{rv}"
            if collection != GADGETS:
                metadata["namespace"] = collection.split("/")[5]
            body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": wanted}}
            return ask("PUT", path, body, subject=subject, query=self.options())
        if at < 8:
            return ask("PATCH", path, {"spec": {"replicas": wanted}}, kind=MERGE, subject=subject, query=self.options())
        return ask("PATCH", path, json.dumps([{"op": "replace", "path": "/spec/replicas", "value": wanted}]), kind=PATCH, subject=subject)

    def delete(self) -> Request:
        collection, name = self.place()
        body: Object | None = None
        query: list[tuple[str, str]] = []
        at = self.c.number(0, 11)
        if at < 2:
            body = {"preconditions": self.c.pick(({"uid": "{uid}"}, {"uid": "wrong"}, {"resourceVersion": "{rv}"}, {"resourceVersion": "1"}))}
        elif at < 5:
            body = {"propagationPolicy": self.c.pick(("Background", "Foreground", "Orphan", "Other"))}
        elif at < 6:
            query.append(("propagationPolicy", self.c.pick(("Background", "Foreground", "Orphan", "Other"))))
        elif at < 7:
            query.append(("gracePeriodSeconds", self.c.pick(("0", "5", "x"))))
        elif at < 8:
            body = {"orphanDependents": True}
        elif at < 9:
            body = self.c.pick(
                (
                    {"apiVersion": "v1", "kind": "DeleteOptions"},
                    {"kind": "Other"},
                    {"unknown": 1},
                    {"orphanDependents": True, "propagationPolicy": "Orphan"},
                )
            )
        if self.c.chance(12):
            query.append(("dryRun", "All"))
        return ask("DELETE", f"{collection}/{name}", body, query=query)

    def delete_collection(self) -> Request:
        query = [("labelSelector", self.c.pick(("x=1", "y", "x=")))] if self.c.chance(70) else []
        if self.c.chance(15):
            query.append(("dryRun", "All"))
        if self.c.chance(15):
            query.append(("fieldSelector", self.c.pick(("metadata.name=a", "spec.color=red", "spec.x=y"))))
        return ask("DELETE", self.collection(), query=query)

    def odd(self) -> Request:
        """Ways that lead nowhere."""
        collection, name = self.place()
        return self.c.pick(
            (
                ask("GET", f"/apis/{GROUP}/v9/widgets"),
                ask("GET", f"/apis/{GROUP}/v1/nothings"),
                ask("GET", f"{collection}/{name}/nothing"),
                ask("GET", f"{GADGETS}/{name}/status"),
                ask("GET", f"{GADGETS}/{name}/scale"),
                ask("PUT", collection, {}),
                ask("PATCH", collection, {}, kind=MERGE),
                ask("DELETE", f"{collection}/{name}/status"),
                ask("POST", f"{WIDGETS}/widgets", {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {}}),
                ask(
                    "POST",
                    f"{WIDGETS}/namespaces/nowhere/widgets",
                    {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {}},
                ),
                ask("GET", f"{WIDGETS}/namespaces/nowhere/widgets"),
                ask("GET", f"{WIDGETS}/widgets/{name}"),
                ask("DELETE", f"{WIDGETS}/widgets"),
                ask("GET", f"/apis/{GROUP}/v1/namespaces/one/gadgets"),
                ask("GET", f"/apis/{GROUP}/v1"),
                ask("GET", f"/apis/{GROUP}/v1beta1"),
                ask("GET", f"/apis/{GROUP}"),
                ask("OPTIONS", collection),
                ask("HEAD", collection),
            )
        )
