"""The page of a comparison: its tables, with pictures of what changed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formwork.escapes import printable
from formwork.files import write_text
from formwork.text import count
from formwork.tools.diff.changes import Changes
from formwork.tools.diff.pictures import thumbnails
from formwork.tools.diff.sides import Files, Side
from formwork.tools.diff.summary import class_table, notes, pair_tables, rows_of, split_table, totals_line
from formwork.tools.report.page import Figure, Gallery, Part, Section, Table, Text, render

MOST_PICTURES = 24  # of each kind of change
MEANING = {
    "added": "Neither the content nor the path was there before.",
    "removed": "Neither the content nor the path is there any more.",
    "replaced": "The path has another content: before and after.",
    "relabelled": "The same content with another label.",
    "moved": "The same content in another split.",
    "renamed": "The same content at another path, with the same label in the same split.",
}


def write_page(
    path: Path, title: str, changes: Changes, more: Sequence[str], files: Files, sides: Sequence[Side]
) -> None:
    """Write the page.

    Args:
        more: lines on the predictions, and notes.

    Raises:
        FormworkError: it cannot be written.
    """
    tables = [split_table(changes), class_table(changes)]
    summary: list[Part] = [Text(f"{totals_line(changes)}."), *map(Text, notes(changes))]
    if any(changes.totals.values()):
        summary += [Table(*table) for table in tables if table]
    summary += map(Text, more)
    kinds = [kind for kind, number in changes.totals.items() if number]
    sections = [_section(changes, kind, files, sides) for kind in kinds]
    write_text(path, render("What changed", title, [Section("Summary", summary), *sections]))


def _section(changes: Changes, kind: str, files: Files, sides: Sequence[Side]) -> Section:
    number = changes.totals[kind]
    parts: list[Part] = [Text(f"{count(number, 'image')}. {MEANING[kind]}")]
    parts += [Table(*table) for of, table in pair_tables(changes) if of == kind]
    before, after = (_spread(rows) for rows in rows_of(changes, kind))
    if number > MOST_PICTURES:
        parts.append(Text(f"{MOST_PICTURES} of them, evenly over all:"))
    old = thumbnails(files, sides[0], changes.before, before) if kind in ("removed", "replaced") else []
    new = thumbnails(files, sides[1], changes.after, after) if kind != "removed" else []
    sources = list(zip(old, new, strict=True)) if old and new else [(source,) for source in [*old, *new]]
    captions = _captions(changes, before, after)
    parts.append(Gallery([Figure(source, lines) for source, lines in zip(sources, captions, strict=True)]))
    return Section(kind.capitalize(), parts)


def _spread(rows: np.ndarray) -> np.ndarray:
    """At most MOST_PICTURES of these rows, at equal distances."""
    if len(rows) <= MOST_PICTURES:
        return rows
    return rows[np.arange(MOST_PICTURES) * len(rows) // MOST_PICTURES]


def _captions(changes: Changes, before: np.ndarray, after: np.ndarray) -> list[list[str]]:
    """Label, split and path of each image, and what they were where that is known and another."""
    lines = []
    for get in ("targets_of", "splits_of", "paths_of"):
        old, new = getattr(changes.before, get)(before), getattr(changes.after, get)(after)
        if old and new:
            pairs = zip(old, new, strict=True)
            lines.append([printable(b) if a == b else f"{printable(a)} → {printable(b)}" for a, b in pairs])
        else:
            lines.append(list(map(printable, old or new)))
    return [[line or "no label" for line in one] for one in zip(*lines, strict=True)]
