"""The keys of params.yaml, from the fields that check them."""

from collections.abc import Iterator

from pydantic import BaseModel

from formwork.params import Dataset, Params, Section


def fields(model: type[Section], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Dotted key of each section (True) and each value (False)."""
    for name, field in model.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        yield prefix + name, is_section
        if is_section:
            yield from fields(field.annotation, f"{prefix}{name}.")


FIELDS = dict(fields(Params)) | {f"datasets.digits.{name}": section for name, section in fields(Dataset)}
