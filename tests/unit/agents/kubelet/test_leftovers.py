"""Which containers that have ended have to go."""

from agents.kubelet.leftovers import superfluous
from agents.kubelet.runtime.base import CREATED, EXITED
from tests.support.pods import seen


def test_the_newest_dead_container_of_each_name_stays() -> None:
    crashing = [seen("a", EXITED, attempt=number) for number in range(3)]
    assert [each.id for each in superfluous({"a": crashing, "b": [seen("b", EXITED)]})] == ["a-0", "a-1"]
    assert [each.id for each in superfluous({"a": [*crashing, seen("a", attempt=3)]})] == ["a-0", "a-1"]
    assert superfluous({"a": [seen("a", EXITED), seen("a", CREATED, attempt=1)]}) == []
