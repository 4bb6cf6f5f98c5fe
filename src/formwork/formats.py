"""How CSV and JSON files are written: the same bytes for the same content."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

from formwork.files import write_text


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows as CSV, atomically, in UTF-8."""
    write_text(path, csv_text(rows))


def csv_text(rows: Iterable[Iterable[object]], delimiter: str = ",") -> str:
    """Rows as CSV; lines end in a line feed, and any text may stand in a field."""
    lines: list[str] = []
    # Python before 3.13 quotes a carriage return in a field only where the lines end in one.
    csv.writer(SimpleNamespace(write=lines.append), lineterminator="\r\n", delimiter=delimiter).writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in lines)
