"""`kubectl get`: the columns and cells of every kind."""

from typing import Any

from tests.kubernetes.builtin import fields
from tests.kubernetes.builtin.duel import MERGE, TABLE, Duel


def every_kind(d: Duel) -> None:
    made = []
    for manifest in fields.manifests():
        path = fields.collection(manifest)
        d.both("POST", path, manifest)
        made.append((path, manifest["metadata"]["name"]))
    for path, name in made:
        _table(d, f"{path}/{name}?includeObject=None")
    for included in ("Metadata", "Object", "Strange"):
        _table(d, f"/api/v1/namespaces/shop/pods/rich?includeObject={included}")
    for path, name in made:
        d.both("PATCH", f"{path}/{name}", {"metadata": {"finalizers": None}}, MERGE)
        d.both("DELETE", f"{path}/{name}?gracePeriodSeconds=0")


def _table(d: Duel, path: str) -> None:
    def told(side: Any) -> Any:
        answer = side.ask("GET", (d.older if side is d.oracle else d.newer)(path)[0], accept=TABLE)
        if answer.code != 200:
            return {"code": answer.code, "body": answer.body}
        columns = [{key: value for key, value in column.items() if key != "description"} for column in answer.body["columnDefinitions"]]
        ages = {index for index, column in enumerate(columns) if column["name"] in ("Age", "Last Seen", "First Seen", "Requested")}
        rows = [["<age>" if index in ages else cell for index, cell in enumerate(row["cells"])] for row in answer.body["rows"]]
        return {"columns": columns, "rows": rows, "object": [sorted(row.get("object") or {}) for row in answer.body["rows"]]}

    d.compare_values(f"table of {path}", told(d.oracle), told(d.subject))
