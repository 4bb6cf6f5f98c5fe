"""What the sections of params.yaml are made of: their base class, and types of values."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _float(value: object) -> object:
    """A number in quotes is that number: other programs write 1e-3 so, to which it is text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def finite(value: Any) -> Any:
    """Refuse what holds .inf or .nan."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"numbers must be finite, and one is {value}")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        finite(item)
    return value


def _entries(value: object) -> object:
    """Refuse what is no list of operations with arguments, in words that show one."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list of operations, each as `- Resize: {{}}`, and is {value!r}")
    for entry in value:
        if not (isinstance(entry, dict) and len(entry) == 1 and all(isinstance(one, dict) for one in entry.values())):
            raise ValueError(
                "an entry is one operation with its arguments, as `- RandomHorizontalFlip: {p: 0.5}`, and one is "
                f"{entry!r}"
            )
    return value


def _numbers(value: object) -> object:
    """A mapping in which each number in quotes is that number, as in _float; lists, too."""
    if isinstance(value, dict):
        return {name: _numbers(item) for name, item in value.items()}
    return [_numbers(item) for item in value] if isinstance(value, list) else _float(value)


def param(default: Any, description: str, unit: str = "", values: str = "") -> Any:
    """A field of a section; `...` as the default of one that must be set.

    Args:
        description: what docs/parameters.md says of it, in Markdown.
        unit: of a number.
        values: which values are allowed, where the type of the field does not say it all.
    """
    return Field(default, description=description, json_schema_extra={"unit": unit, "values": values})


Operations = Annotated[list[dict[str, dict[str, Any]]], BeforeValidator(_entries), AfterValidator(finite)]
"""An augmentation list: one mapping an operation, its name to its arguments; see formwork.loading.augmentation."""

Options = Annotated[dict[str, Any], BeforeValidator(_numbers), AfterValidator(finite)]
"""Options of something that has a name: what they may be, that thing says."""

Float = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_float)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Triple = Annotated[list[Float], Field(min_length=3, max_length=3)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
