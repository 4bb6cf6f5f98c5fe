"""Changing values of params.yaml as `dvc exp run -S` does, by DVC's own writer: comments stay."""

from collections.abc import Mapping
from typing import Any

from formwork.params.read import set_value


def with_values(content: str, values: Mapping[str, Any]) -> str:
    """The text of a params.yaml with other values of these dotted keys; sections that it lacks are made."""
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    data = parse_yaml_for_update(content, "params.yaml")
    for key, value in values.items():
        set_value(data, key, value)
    return dumps_yaml(data)
