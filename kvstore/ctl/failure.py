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
    """What etcdctl says of it. The reason for which a server could not be reached goes to standard error beside, as the Go client logs it."""
    import json
    import sys

    from kvstore.client.authentication import LoginFailed
    from kvstore.client.errors import CallFailed, NotConnected
    from kvstore.wire.status import Code

    if not isinstance(error, CallFailed):
        return str(error)
    if isinstance(error, NotConnected) or isinstance(error.__cause__, NotConnected):
        print(json.dumps({"level": "warn", "msg": "no connection", "error": str(error)}), file=sys.stderr)
        return "context deadline exceeded"
    if error.code is Code.DEADLINE_EXCEEDED or (isinstance(error, LoginFailed) and str(error).startswith("etcdserver: ")):
        return str(error)
    return f"rpc error: code = {error.code.words} desc = {error}"
