"""CEL behind a small interface: compile an expression, evaluate it over JSON. The engine is cel-expr-python (Google's cel-cpp).

Kubernetes' own functions are registered here as far as they are functions of texts, numbers and lists (apiserver/pkg/cel/library): quantities,
URLs, IPs and CIDRs are kept as their text, so their methods are those of strings. Not there: format, semver, jsonpatch, authorizer.
An evaluation cannot run away: the engine has a budget of iterations, and what could make too much of what it is given is not begun (cel_growth.py).
"""

import base64
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings
from google.protobuf import duration_pb2, timestamp_pb2

from apiserver.machinery import timestamps
from apiserver.registry import cel_library
from apiserver.registry.cel_growth import Growth, weight

EXPRESSION_MAX = 16 * 1024
KEPT = 2048
"""How many compiled expressions are kept."""
MADE_BYTES_MAX = 1 << 28
"""The largest value that an evaluation may make on its way."""
GIVEN_BYTES_MAX = 1 << 26
"""No object in memory, and none with what else admission shows, is larger."""

_TYPES = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "dyn": cel.Type.DYN,
    "list": cel.Type.List(cel.Type.DYN),
}
RESERVED = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"),
        *("package", "namespace", "return", "var", "void", "while"),
    )
)


class CelError(ValueError):
    """An expression that cannot be compiled, or an evaluation that failed; the text says why."""


class Program:
    """One compiled expression."""

    __slots__ = ("_expression", "_fitting_bytes", "_growth", "text")

    def __init__(self, text: str, expression: Any) -> None:
        """Raises CelError for what makes too much of nothing."""
        self.text = text
        self._expression = expression
        self._growth = Growth(expression.serialize())
        self._fitting_bytes = -1
        """As much may be given without another look."""
        self._judge(0)
        if self._growth.largest(GIVEN_BYTES_MAX) <= MADE_BYTES_MAX:
            self._fitting_bytes = GIVEN_BYTES_MAX

    def _judge(self, given_bytes: int) -> None:
        if given_bytes > self._fitting_bytes:
            if self._growth.largest(given_bytes) > MADE_BYTES_MAX:
                raise CelError(f"the expression could make a value of more than {MADE_BYTES_MAX} bytes")
            self._fitting_bytes = given_bytes

    @property
    def kind(self) -> str:
        """The type of its result as far as it is known before: BOOL, STRING, DYN, ..."""
        return str(self._expression.return_type().name())

    def evaluate(self, variables: dict[str, Any]) -> Any:
        """The result as JSON. Raises CelError."""
        if self._fitting_bytes < GIVEN_BYTES_MAX:
            self._judge(weight(variables))
        try:
            found = self._expression.eval(data=variables)
            if found.type().name() == "ERROR":
                raise CelError(_short(str(found.value())))
            return found.plain_value()
        except CelError:
            raise
        except (RuntimeError, TypeError, ValueError) as failed:
            raise CelError(_short(str(failed))) from None


@cache
def _environment(variables: tuple[str, ...]) -> Any:
    functions = [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(f"{name}_{number}", _TYPES[gives], [_TYPES[each] for each in takes], is_member, implementation)
                for number, (takes, gives, is_member, implementation) in enumerate(overloads)
            ],
        )
        for name, overloads in cel_library.FUNCTIONS.items()
    ]
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_bindings.ExtBindings(), ext_math.ExtMath(), ext_encoders.ExtEncoders()]
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN), extensions=extensions, functions=functions)


@lru_cache(maxsize=KEPT)
def compile_expression(text: str, variables: tuple[str, ...]) -> Program:
    """Raises CelError with the engine's words."""
    if len(text) > EXPRESSION_MAX:
        raise CelError(f"an expression has at most {EXPRESSION_MAX} characters, this one has {len(text)}")
    try:
        return Program(text, _environment(variables).compile(text))
    except RecursionError:
        raise CelError("the expression is nested too deeply") from None
    except RuntimeError as failed:
        raise CelError(_short(str(failed))) from None


def escaped(name: str) -> str:
    """A field's name as expressions write it (apiserver/pkg/cel/escaping.go)."""
    if name in RESERVED:
        return f"__{name}__"
    for what, by in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(what, by)
    return name


def typed(text: str, form: str) -> Any:
    """A text as the type that its schema's format says: a time, a duration, bytes; the text itself where it is none."""
    try:
        if form == "byte":
            return base64.b64decode(text, validate=True)
        if form == "duration":
            whole = timedelta(seconds=timestamps.parse_duration(text))
            found = duration_pb2.Duration()
            found.FromTimedelta(whole)
            return found
        moment = timestamp_pb2.Timestamp()
        moment.FromDatetime(timestamps.parse(f"{text}T00:00:00Z" if form == "date" else text))
        return moment
    except (ValueError, OverflowError):
        return text


TYPED_FORMATS = frozenset(("byte", "date", "date-time", "duration"))


def _short(text: str) -> str:
    return text.removeprefix("INVALID_ARGUMENT: ").removesuffix(" [INVALID_ARGUMENT]").removeprefix("NOT_FOUND: ")
