"""When `up` takes a node for ready."""

import pytest

from keelson.launcher.arrival import why_not_ready

HEARD, HEARD_S = "2026-01-01T00:00:10Z", 1767225610.0


@pytest.mark.parametrize(
    ("condition", "since_s", "why"),
    [
        ({"type": "Ready", "status": "True", "lastHeartbeatTime": HEARD}, HEARD_S - 5, None),
        ({"type": "Ready", "status": "True", "lastHeartbeatTime": HEARD}, HEARD_S + 0.9, None),
        ({"type": "Ready", "status": "True", "lastHeartbeatTime": HEARD}, HEARD_S + 1, "its kubelet has not reported yet"),
        ({"type": "Ready", "status": "True"}, HEARD_S, "its kubelet has not reported yet"),
        ({"type": "Ready", "status": "True", "lastHeartbeatTime": HEARD}, None, "its kubelet does not run"),
        ({"type": "Ready", "status": "False", "lastHeartbeatTime": HEARD, "message": "no network"}, HEARD_S, "no network"),
        ({"type": "DiskPressure", "status": "False"}, HEARD_S, "no Ready condition yet"),
    ],
)
def test_a_node_is_ready_once_the_kubelet_of_this_run_says_so(condition: dict[str, str], since_s: float | None, why: str | None) -> None:
    assert why_not_ready({"status": {"conditions": [condition]}}, since_s) == why
