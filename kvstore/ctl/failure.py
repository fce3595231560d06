"""How kvctl fails: etcdctl's exit codes, and a text on standard error."""

SUCCESS, ERROR, BAD_CONNECTION, INVALID_INPUT, BAD_FEATURE, INTERRUPTED, IO_ERROR, BAD_ARGUMENTS = 0, 1, 2, 3, 4, 5, 6, 128


class Failure(Exception):
    """`hint`: point to --help as well."""

    def __init__(self, exit_code: int, text: str, *, hint: bool = False) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.hint = hint
