"""The plug-in of docs/scheduler-plugin.md works as it stands there."""

import re
from pathlib import Path

from agents.scheduler import profiles
from tests.unit.agents.scheduler.cluster import decide, node, pod, snapshot

PAGE = Path(__file__).parents[4] / "docs" / "scheduler-plugin.md"


def test_the_page_s_plugin(monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (line,) = re.findall(r'^    ("NotTooOld": .*),$', PAGE.read_text(), re.MULTILINE)
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    monkeypatch.setattr(profiles, "REGISTRY", {**profiles.REGISTRY, **eval(f"{{{line}}}", names)})
    cluster = snapshot(node("old", cpu="64", memory="256Gi", labels={"generation": "1"}), node("new", labels={"generation": "90"}))
    profile = profiles.default_profile()
    assert decide(cluster, pod("p", cpu="1"), profile).node == "new"
    refused = decide(cluster, pod("p", labels={"picky": "91"}), profile)
    assert refused.message.startswith("0/2 nodes are available: 2 node(s) were too old.")
    assert refused.plugins == {"NotTooOld"}
