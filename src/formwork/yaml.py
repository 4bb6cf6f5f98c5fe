"""YAML as DVC reads and writes it, version 1.2: `no` and `1:30` are text, `1e-3` is a number, `010` is ten."""

import re
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from formwork.errors import FormworkError

TAG = "tag:yaml.org,2002:"
WIDE = 1_000_000  # columns: no line is folded


class YamlError(FormworkError):
    """A file is no YAML, or holds what DVC cannot use; with its name and the line."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; see `parse_yaml`.

    Raises:
        OSError: it is not there, or cannot be read.
        YamlError: as parse_yaml does.
    """
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(content: bytes, name: str) -> Any:
    """What a YAML document holds: dicts with text as keys, lists, text, numbers, booleans and None.

    Args:
        content: in UTF-8.
        name: what messages call the file.

    Raises:
        YamlError: naming the line. Refused are keys that are no text, and dates: DVC fails on both, without a word of
            where they are.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YamlError(
            f"{name}, line {line}, is no valid YAML: it is not in UTF-8. Save the file as UTF-8."
        ) from error
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        return yaml.load(text)
    except _Unusable as error:
        raise YamlError(f"{name}, line {error.problem_mark.line + 1}: {error.problem}.") from error
    except MarkedYAMLError as error:
        if conflict := conflict_line(content):
            raise YamlError(
                f"{name}, line {conflict}: git has left both sides of a merge here, between <<<<<<< and >>>>>>>. Keep "
                "what you want of them; docs/branches.md says how to go on."
            ) from error
        mark = error.problem_mark or error.context_mark
        said = f"{error.context}, {error.problem}" if error.problem.startswith("but ") else error.problem
        raise YamlError(f"{name}, line {mark.line + 1}, is no valid YAML: {' '.join(said.split())}.") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{name}, line {line}, is no valid YAML: it holds the byte {error.character:#04x}.") from error
    except RecursionError as error:
        raise YamlError(f"{name} cannot be read: it is nested too deeply.") from error


def scalar_text(path: Path, key: str) -> str:
    """What stands in a sound YAML file at a dotted key that has a plain value."""
    node = YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8-sig"))
    for step in key.split("."):
        (node,) = (value for name, value in node.value if name.value == step)
    return node.value


def conflict_line(content: bytes) -> int | None:
    """The line, from 1, where git has marked the first conflict of a merge in a file."""
    found = re.search(rb"^<{7} ", content, re.MULTILINE)
    return content.count(b"\n", 0, found.start()) + 1 if found else None


def spellings(value: Any, names: Iterable[str]) -> list[str]:
    """Those of `names` that are another value without quotes: 2024_01_05 is the number 20240105, `nan` in -S is one."""
    return [name for name in names if repr(value) == repr(_without_quotes(name))]


def _without_quotes(text: str) -> Any:
    if text.lower().lstrip("+-") in ("inf", "nan"):
        return float(text)
    try:
        return parse_yaml(text.encode("utf-8", "replace"), text)
    except YamlError:
        return text


def dump_yaml(value: Any, one_line: bool = False) -> str:
    """A value in YAML, with the keys in their order; in one line, `{a: [1, 2]}`, without its end."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = one_line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None
    yaml.width = WIDE
    yaml.allow_unicode = True
    stream = StringIO()
    yaml.dump(value, stream)
    text = stream.getvalue()
    return text.removesuffix("...\n").removesuffix("\n") if one_line else text


class _Unusable(ConstructorError):
    """A node that is sound YAML, and of no use to DVC or to us."""

    def __init__(self, node: Node, problem: str):
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Constructor(SafeConstructor):
    """Makes the values, and says of those that it cannot make in which line they stand."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise _Unusable(node, "this holds itself, through an anchor")
        try:
            return super().construct_object(node, deep=True)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _Unusable(node, f"{_said(node)} is no {str(node.tag).removeprefix(TAG)}") from error

    def construct_mapping(self, node: Node, deep: bool = False) -> Any:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if key.tag != f"{TAG}str":
                kind = key.tag.removeprefix(TAG)
                raise _Unusable(key, f"the key {_said(key)} is no text, but of type {kind}: put it in quotes")
        return super().construct_mapping(node, deep=deep)

    def refuse(self, node: Node) -> Any:
        raise _Unusable(node, f"DVC cannot use {node.value} without quotes: write '{node.value}'")


def _said(node: Node) -> str:
    return node.value[:40] if isinstance(node, ScalarNode) else "that begins here"


for tag in ("timestamp", "value", "merge"):  # a date, `=`, and `<<` where it is no key
    _Constructor.add_constructor(f"{TAG}{tag}", _Constructor.refuse)
