"""docs/parameters.md: a table of all params, made from the fields that check them, params.yaml and dvc.yaml."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from formwork.params import Dataset, Params
from formwork.yaml import dump_yaml, read_yaml

PAGE = "docs/parameters.md"

HEAD = """# Every parameter

<!-- Made by `make docs` from the descriptions in src/formwork/params. Edit those. -->

`params.yaml` is the only configuration. An unknown key, a wrong type or a value out of range is refused before any
work. For one run, `dvc exp run -S <key>=<value>`. The default is the value in `params.yaml` as it comes; under
`datasets`, it holds where a key is left out. The stages of a row run again when its key changes, and those after them
when their outputs change by that; changed back, the outputs come from DVC's run cache.
"""
TABLE = "| Key | Default | Values | Runs again | Meaning |\n|---|---|---|---|---|"

STAGES = ("fetch", "link", "convert", "weights", "train", "evaluate")
NULL = {"type": "null"}
LIMITS = (
    ("from", "minimum", "ge"),
    ("to", "maximum", "le"),
    ("above", "exclusiveMinimum", "gt"),
    ("below", "exclusiveMaximum", "lt"),
)
"""In words, in JSON schemas, and in those that pydantic makes of a float with a validator of its own."""
IN_COMMANDS = {"data.name": "all", "data.fetch": "fetch"}
"""Params that dvc.yaml has in the paths and names of stages, rather than in their lists of params."""


def parameters_page(repository: Path) -> str:
    """The page, in Markdown; params.yaml and dvc.yaml are those of a repository."""
    shipped = read_yaml(repository / "params.yaml")
    stages = stages_by_key(repository)
    parts = [HEAD]
    for section, fields in _sections():
        rows = []
        for key, field in fields.items():
            cells = f"`{key}`", f"`{_default(shipped, key, field)}`", _values(field), stages[key], field["description"]
            rows.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join([f"## {section}\n", *_intro(section), TABLE, *rows, ""]))
    return "\n".join(parts)


def stages_by_key(repository: Path) -> dict[str, str]:
    """The stages that track each param, or a section that it is in. Those of a dataset are datasets.<name>.<key>."""
    tracked = _tracked(repository)
    return {
        key: IN_COMMANDS.get(key) or ", ".join(stage for stage in STAGES if _covers(tracked[stage], key))
        for _, fields in _sections()
        for key in fields
    }


def _sections() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """The sections of params.yaml in their order, each with the JSON schemas of its values by dotted key."""
    schema = Params.model_json_schema(mode="serialization")
    for name, section in schema["properties"].items():
        yield name, dict(_leaves(schema, section, name))


def _leaves(schema: dict[str, Any], field: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if "$ref" in field:
        model = schema["$defs"][field["$ref"].rsplit("/", 1)[1]]
        for name, inner in model.get("properties", {}).items():
            yield from _leaves(schema, inner, f"{key}.{name}")
    elif key == "datasets":
        yield from _leaves(schema, field["additionalProperties"], "datasets.<name>")
    else:
        yield key, field


def _intro(section: str) -> list[str]:
    """The docstring of a section's model, where it has one."""
    model = Dataset if section == "datasets" else Params.model_fields[section].annotation
    text = model.__doc__ if isinstance(model, type) and issubclass(model, BaseModel) else None
    return [" ".join(text.split()) + "\n"] if text else []


def _default(shipped: dict[str, Any], key: str, field: dict[str, Any]) -> str:
    """The value in params.yaml, or that of a key which is left out there; as YAML has it, in one line."""
    value: Any = shipped
    for step in key.split("."):
        value = value.get(step, {}) if isinstance(value, dict) else {}
    if value == {}:
        value = field["default"]
    return dump_yaml(value, one_line=True)


def _values(field: dict[str, Any]) -> str:
    """Which values a key can have, from its JSON schema; with the unit."""
    kinds = field.get("anyOf", [field])
    said = [field["values"]] if field["values"] else [_kind(kind, field["unit"]) for kind in kinds if kind != NULL]
    return ", or ".join([*said, "`null`"] if NULL in kinds else said)


def _kind(kind: dict[str, Any], unit: str) -> str:
    if "const" in kind or "enum" in kind:
        choices = kind.get("enum", [kind.get("const")])
        return ", ".join(f"`{choice}`" for choice in choices)
    if kind["type"] == "boolean":
        return "`true`, `false`"
    limits = {word: kind.get(name, kind.get(short)) for word, name, short in LIMITS}
    if kind["type"] == "integer" and limits["below"] is not None:
        limits["to"], limits["below"] = f"2{_superscript(limits['below'])} - 1", None
    said = ", ".join(f"{word} {_number(limit)}" for word, limit in limits.items() if limit is not None)
    if limits["from"] is not None and limits["to"] is not None:
        said = said.replace(", to", " to")
    return ", ".join(filter(None, [unit, said]))


def _number(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _superscript(power_of_two: int) -> str:
    """The exponent of a power of two."""
    return str(power_of_two.bit_length() - 1).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _tracked(repository: Path) -> dict[str, list[str]]:
    """The params that each stage tracks, as dvc.yaml names them; of `sources.${item}` the part before the dot."""
    stages: dict[str, Any] = {}
    for file in ("dvc.yaml", "data/dvc.yaml"):
        stages |= read_yaml(repository / file)["stages"]
    return {
        name: [re.sub(r"\.\$\{.*\}$", "", param) for param in stages[name].get("do", stages[name]).get("params", [])]
        for name in STAGES
    }


def _covers(tracked: list[str], key: str) -> bool:
    """Whether a key, or a section that it is in, is tracked."""
    return any(key == param or key.startswith(f"{param}.") for param in tracked)
