"""Changing values of params.yaml as `dvc exp run -S` does, by DVC's own writer: comments stay."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from formwork.files import write_text


def with_values(content: str, values: Mapping[str, Any]) -> str:
    """The text of a params.yaml with other values of these dotted keys; sections that it lacks are made."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    data = parse_yaml_for_update(content, "params.yaml")
    for key, value in values.items():
        *sections, name = key.split(".")
        section = data
        for step in sections:
            if not isinstance(section.get(step), dict):
                section[step] = {}
            section = section[step]
        section[name] = value
    return dumps_yaml(data)


def set_values(path: Path, content: str, values: Mapping[str, Any]) -> None:
    """Write `content` with these values to a file."""
    write_text(path, with_values(content, values))
