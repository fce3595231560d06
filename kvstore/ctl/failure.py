"""How kvctl fails: etcdctl's exit codes, and a text on standard error."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvstore.errors import StoreError

SUCCESS, ERROR, BAD_CONNECTION, INVALID_INPUT, BAD_FEATURE, INTERRUPTED, IO_ERROR, BAD_ARGUMENTS = 0, 1, 2, 3, 4, 5, 6, 128


class Failure(Exception):
    """With an empty text, what there is to say has been said."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def told(error: "StoreError") -> str:
    """What etcdctl says of it, perhaps inside a longer sentence. Raises Failure itself if the client could not log in: etcdctl does that first,
    and no command has a word of its own for it. Why a server was not reached goes to standard error beside, as the Go client logs it."""
    from kvstore.client.authentication import LoginFailed

    text = _words(error)
    if isinstance(error, LoginFailed):
        raise Failure(BAD_CONNECTION, text) from error
    return text


def _words(error: "StoreError") -> str:
    import json
    import sys

    from kvstore.client.errors import CallFailed, NotConnected
    from kvstore.errors import StoreError
    from kvstore.wire.status import CODES, Code

    if isinstance(error, NotConnected) or isinstance(error.__cause__, NotConnected):
        print(json.dumps({"level": "warn", "msg": "no connection", "error": str(error)}), file=sys.stderr)
        return "context deadline exceeded"
    code = error.code if isinstance(error, CallFailed) else CODES.get(type(error))
    cause = type(error.__cause__) if isinstance(error.__cause__, StoreError) else type(error)
    if code is None or code is Code.DEADLINE_EXCEEDED or (cause in CODES and str(error).startswith("etcdserver: ")):
        return str(error)
    return f"rpc error: code = {code.words} desc = {error}"
