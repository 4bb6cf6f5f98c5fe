"""Values of params as people read them."""

from typing import Any

from formwork.escapes import printable
from formwork.yaml import dump_yaml


def shown(value: Any) -> str:
    """With four digits where it is no whole number, else as YAML in one line."""
    return f"{value:.4g}" if isinstance(value, float) else printable(dump_yaml(value, one_line=True))
