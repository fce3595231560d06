"""A recorder of events that is a list: (name of the object, type, reason, message)."""

from apiserver.machinery.objects import Object, name_of


class ListRecorder:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str]] = []

    def event(self, about: Object, type_: str, reason: str, message: str) -> None:
        self.told.append((name_of(about), type_, reason, message))

    def reasons(self) -> list[str]:
        return [reason for _, _, reason, _ in self.told]
