"""How many pods on each node are meant by a selector: asked by topology spread and pod affinity for every pod of a workload, with the same selector.

Counting over all pods of a big cluster takes longer than the rest of a cycle; so a count, once asked for, is kept and follows every pod that comes
and goes. The least recently asked are dropped.
"""

from collections.abc import Callable, Iterable, Mapping

from agents.scheduler.podinfo import PodInfo

QUESTIONS_MAX = 512
"""Kept counts. Each costs one look at the labels for every pod that comes or goes in its namespace."""

NamespaceLabels = Callable[[str], Mapping[str, str]]


class Question:
    """`key` names it among others: two questions with the same key have the same answer. `namespace` None: pods of several namespaces are meant."""

    __slots__ = ("key", "matches", "namespace")

    def __init__(self, key: str, namespace: str | None, matches: Callable[[PodInfo, NamespaceLabels], bool]) -> None:
        self.key = key
        self.namespace = namespace
        self.matches = matches


class Counts:
    def __init__(self) -> None:
        self._questions: dict[str, tuple[Question, dict[str, int]]] = {}
        self._of_namespace: dict[str | None, dict[str, tuple[Question, dict[str, int]]]] = {}

    def answer(self, question: Question, pods: Iterable[PodInfo], namespace_labels: NamespaceLabels) -> Mapping[str, int]:
        """The pods on each node, by name. `pods` is looked through if the question is new."""
        known = self._questions.pop(question.key, None)
        if known is None:
            found: dict[str, int] = {}
            for pod in pods:
                if question.namespace in (None, pod.namespace) and question.matches(pod, namespace_labels):
                    found[pod.node_name] = found.get(pod.node_name, 0) + 1
            known = (question, found)
            self._of_namespace.setdefault(question.namespace, {})[question.key] = known
            if len(self._questions) >= QUESTIONS_MAX:
                self._drop(next(iter(self._questions)))
        # The newest stand at the end.
        self._questions[question.key] = known
        return known[1]

    def _drop(self, key: str) -> None:
        question, _ = self._questions.pop(key)
        del self._of_namespace[question.namespace][key]

    def add(self, pod: PodInfo, sign: int, namespace_labels: NamespaceLabels) -> None:
        for namespace in (None, pod.namespace):
            for question, found in self._of_namespace.get(namespace, {}).values():
                if question.matches(pod, namespace_labels):
                    count = found.get(pod.node_name, 0) + sign
                    if count:
                        found[pod.node_name] = count
                    else:
                        del found[pod.node_name]

    def clear(self) -> None:
        """The labels of a namespace changed: what was counted may be wrong."""
        self._questions.clear()
        self._of_namespace.clear()
