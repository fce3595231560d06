"""Several authorizers as one: the first that has an opinion decides (apiserver/pkg/authorization/union)."""

from collections.abc import Sequence

from apiserver.request import Attributes, Authorizer, Decision


class Union:
    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self.authorizers = tuple(authorizers)

    async def authorize(self, attributes: Attributes) -> Decision:
        """Nobody's opinion is a refusal, with every reason that was given."""
        reasons = []
        for each in self.authorizers:
            decision = await each.authorize(attributes)
            if decision.allowed is not None:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(None, "\n".join(reasons))


class AlwaysAllow:
    """--authorization-mode=AlwaysAllow."""

    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision(True)
