"""How a checker says no."""


class Violation(AssertionError):
    """A promise was broken. `rule` names the promise; the text says what was seen and what was expected."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
