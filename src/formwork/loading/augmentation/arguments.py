"""The arguments of an operation in params.yaml, held against the names and types that its class declares."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from numbers import Number
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from formwork.errors import did_you_mean
from formwork.loading.augmentation.base import check_number

SIZES = {"size", "resolution"}
"""Names by which other libraries take the side of the training images."""

PROBABILITIES = {"p", "flip_prob"}
"""Names of probabilities, whose range not all classes check."""

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Number: "a number",
    str: "a word",
    NoneType: "null",
    list: "a list of numbers",
    tuple: "a list of numbers",
    Sequence: "a list of numbers",
}
"""Types that a value in params.yaml can have."""


def bind(operation: Callable[..., Any], arguments: Mapping[str, Any], typed: bool) -> dict[str, Any]:
    """The arguments as the operation wants them: names of an enumeration become its members.

    Args:
        typed: also hold the values against the declared types.

    Raises:
        ValueError: an argument is unknown, missing, or of another type; the message names it and its value.
    """
    if not callable(operation):
        raise ValueError(f"it must be a function or a class, and is {operation!r}")
    try:
        parameters = inspect.signature(operation).parameters
    except (TypeError, ValueError):  # of what is written in C
        return dict(arguments)
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in arguments:
        if name not in named and not anything:
            near = did_you_mean(name, named) if named else "It has none."
            if name in SIZES:
                near = "The side of the training images is datasets.<name>.resolution."
            raise ValueError(f"it has no argument {name!r} ({near[0].lower()}{near[1:].removesuffix('.')})")
    hints = _hints(operation)
    for name, parameter in named.items():
        if name not in arguments and parameter.default is parameter.empty:
            words = f": {_wanted(name, hints[name])}" if name in hints else ""
            raise ValueError(f"its argument {name} is missing{words}")
    if not typed:
        hints = {}
    return {name: _converted(name, value, hints.get(name, Any)) for name, value in arguments.items()}


def _hints(operation: Callable[..., Any]) -> dict[str, Any]:
    function = operation.__init__ if inspect.isclass(operation) else operation
    try:
        return get_type_hints(function)
    except Exception:  # whatever evaluating foreign annotations raises
        return {}


def _converted(name: str, value: object, kind: Any) -> Any:
    if not _finite(value):
        raise ValueError(f"{name} must be finite, and is {value!r}")
    if name in PROBABILITIES and isinstance(value, int | float):
        check_number(name, value, 0, 1)
    if kind is Any or isinstance(kind, str):
        return value
    for one in _alternatives(kind):
        if inspect.isclass(one) and issubclass(one, Enum) and value in [member.value for member in one]:
            return one(value)
        if _fits(value, one):
            return value
    raise ValueError(f"{_wanted(name, kind)}, and is {value!r}")


def _finite(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in _alternatives(part)]
    return [kind]


def _fits(value: object, kind: Any) -> bool:
    """Whether a value of params.yaml is of a type, which is no union."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return value in inner
    if origin in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis:
            pairs = list(zip(value, inner, strict=False))
            return len(value) == len(inner) and all(_fits_any(item, one) for item, one in pairs)
        return all(_fits_any(item, inner[0] if inner else float) for item in value)
    if origin in (float, Number):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin in WORDS:
        return isinstance(value, origin) and (origin is bool or not isinstance(value, bool))
    return False


def _fits_any(value: object, kind: Any) -> bool:
    return any(_fits(value, one) for one in _alternatives(kind))


def _wanted(name: str, kind: Any) -> str:
    """What an argument must be, in words.

    Raises:
        ValueError: it can be nothing that params.yaml can hold.
    """
    words = [word for one in _alternatives(kind) if (word := _word(one))]
    if not words:
        raise ValueError(
            f"params.yaml cannot hold its argument {name}. Use an operation of your own: docs/augmentation.md"
        )
    return f"{name} must be {' or '.join(dict.fromkeys(words))}"


def _word(kind: Any) -> str:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if inspect.isclass(origin) and issubclass(origin, Enum):
        return f"one of {', '.join(str(member.value) for member in origin)}"
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (list, tuple, Sequence) and inner:
        item = next((word for part in _alternatives(inner[0]) if (word := _word(part))), "")
        count = f"{len(inner)} " if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis else ""
        return f"a list of {count}{item.split(' ', 1)[1]}s" if item.startswith("a ") else ""
    return WORDS.get(origin, "")
