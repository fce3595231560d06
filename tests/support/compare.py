"""Where an answer of ours is not the genuine server's."""

from collections.abc import Iterator
from typing import Any


def differences(genuine: Any, ours: Any, at: str = "") -> Iterator[str]:
    """Where two plain values differ, one text each."""
    if isinstance(genuine, dict) and isinstance(ours, dict):
        for name in {**genuine, **ours}:
            if name not in genuine or name not in ours:
                whose = "genuine" if name in genuine else "ours"
                yield f"{at}.{name}: only {whose}: {genuine.get(name, ours.get(name))!r}"
            else:
                yield from differences(genuine[name], ours[name], f"{at}.{name}")
    elif isinstance(genuine, list) and isinstance(ours, list) and len(genuine) == len(ours):
        for index, (one, other) in enumerate(zip(genuine, ours, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    elif genuine != ours or type(genuine) is not type(ours):
        yield f"{at}:\n    genuine {genuine!r}\n    ours    {ours!r}"
