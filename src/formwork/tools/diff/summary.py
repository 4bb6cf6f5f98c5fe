"""A comparison as text, Markdown and JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from formwork.escapes import printable
from formwork.images.manifest import SPLITS
from formwork.text import clip, columns, count, table
from formwork.tools.diff.changes import Changes
from formwork.tools.diff.sides import Side

MOST_CLASSES = 30  # rows of the table of classes
MOST_IN_JSON = 1000  # of labels before and after
MOST_PAIRS = 20  # of labels before and after that are listed
EXAMPLES = 3  # paths of each kind
WIDTH = 100  # columns of a terminal

HEADINGS = {
    "added": "added",
    "removed": "removed",
    "replaced": "replaced",
    "relabelled": "relabelled to it",
    "relabelled_away": "from it",
    "moved": "moved",
    "renamed": "renamed",
}
"""Columns of the table of classes: names of Changes.by_class, and what they are called."""

Table = tuple[Sequence[str], list[list[str]], int]
"""The header, the rows, and how many columns from the left are words; the others are numbers."""


def totals_line(changes: Changes) -> str:
    """ "1,797 images before, 1,802 after: 10 added, 5 removed, 3 relabelled"."""
    found = [f"{number:,} {kind}" for kind, number in changes.totals.items() if number]
    sizes = f"{count(len(changes.before), 'image')} before, {len(changes.after):,} after"
    return f"{sizes}: {', '.join(found) or 'nothing changed'}"


def notes(changes: Changes) -> list[str]:
    """What a reader must know of targets that cannot be compared."""
    before, after = changes.before, changes.after
    if before.task != after.task:
        return [f"The task was {before.task}, and is {after.task}."]
    if before.target_names != after.target_names:
        return [
            f"The targets were {', '.join(map(printable, before.target_names))}, and are "
            f"{', '.join(map(printable, after.target_names))}: every image counts as relabelled."
        ]
    return []


def class_table(changes: Changes, most: int = MOST_CLASSES) -> Table | None:
    """Classes in which something changed, those with the most changes first if there are more than `most`."""
    counts = changes.by_class
    names = changes.classes.names
    kinds = [kind for kind in HEADINGS if counts[kind].any()]
    if not names or not kinds:
        return None
    changed = np.sum([counts[kind] for kind in kinds], axis=0)
    rows = np.flatnonzero(changed)
    left = len(rows) - most
    if left > 0:
        rows = np.sort(rows[np.argsort(-changed[rows], kind="stable")][:most])
    shown = ["before", "after", *kinds]
    body = [[printable(names[row]), *(_number(counts[kind][row]) for kind in shown)] for row in rows.tolist()]
    if left > 0:
        body.append([f"{left} more with fewer changes", *[""] * len(shown)])
    return ["class", *(HEADINGS.get(kind, kind) for kind in shown)], body, 1


def split_table(changes: Changes) -> Table:
    """Images of each split before and after, and those added, removed and replaced."""
    before, after = changes.before.split, changes.after.split
    rows = {
        "before": before,
        "after": after,
        "added": after[changes.added],
        "removed": before[changes.removed],
        "replaced": after[changes.pairs[changes.replaced, 1]],
    }
    counts = {name: np.bincount(split, minlength=len(SPLITS)) for name, split in rows.items()}
    body = [
        [split, *(_number(numbers[place]) for numbers in counts.values())]
        for place, split in enumerate(SPLITS)
        if counts["before"][place] or counts["after"][place]
    ]
    return ["split", *counts], body, 1


def pair_tables(changes: Changes) -> Iterator[tuple[str, Table]]:
    """(kind, table) of what was relabelled and moved: before, after, and the number of images."""
    if changes.before.task == changes.after.task == "regression":
        if changes.totals["relabelled"] and changes.before.target_names == changes.after.target_names:
            yield "relabelled", _changed_numbers(changes)
    elif changes.totals["relabelled"]:
        yield "relabelled", _pairs("label", changes.relabellings(MOST_PAIRS))
    if changes.totals["moved"]:
        yield "moved", _pairs("split", changes.moves())


def _pairs(what: str, pairs: Sequence[tuple[str, str, int]]) -> Table:
    rows = [[printable(before), printable(after), f"{number:,}"] for before, after, number in pairs]
    return [f"{what} before", "after", "images"], rows, 2


def _changed_numbers(changes: Changes) -> Table:
    """Of each number of relabelled images: how many changed, and by how much."""
    pairs = changes.pairs[changes.relabelled]
    change = np.abs(changes.after.numbers_of(pairs[:, 1]) - changes.before.numbers_of(pairs[:, 0]))
    rows = []
    for name, column in zip(changes.after.target_names, change.T, strict=True):
        changed = column[column > 0]
        if len(changed):
            rows.append([printable(name), f"{len(changed):,}", f"{changed.mean():.4g}", f"{changed.max():.4g}"])
    return ["number", "images", "mean change", "largest"], rows, 1


def _number(value: int) -> str:
    return f"{value:,}" if value else "0"


def rows_of(changes: Changes, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows before and rows after of the images of a kind, in the order of paths; empty where that side has none."""
    none = np.empty(0, np.int64)
    if kind == "added":
        return none, changes.added
    if kind == "removed":
        return changes.removed, none
    pairs = changes.pairs[getattr(changes, kind)]
    return pairs[:, 0], pairs[:, 1]


def describe(changes: Changes, kind: str, before: np.ndarray, after: np.ndarray) -> list[str]:
    """What became of images of one kind, a line each: "cat/1.png", "cat/1.png -> dog/1.png", "a.png: cat -> dog"."""
    old, new = changes.before, changes.after
    if kind == "added":
        return [printable(path) for path in new.paths_of(after)]
    if kind == "removed":
        return [printable(path) for path in old.paths_of(before)]
    lines = []
    columns = (
        (old.paths_of(before), new.paths_of(after)),
        (old.targets_of(before), new.targets_of(after)),
        (old.splits_of(before), new.splits_of(after)),
    )
    for place in range(len(before)):
        path, target, split = ((a[place], b[place]) for a, b in columns)
        more = [f"{printable(a)} -> {printable(b)}" for a, b in (target, split) if a != b]
        paths = printable(path[0]) if path[0] == path[1] else f"{printable(path[0])} -> {printable(path[1])}"
        lines.append(": ".join([paths, *filter(None, [", ".join(more)])]))
    return lines


def examples(changes: Changes, most: int = EXAMPLES) -> Iterator[tuple[str, list[str], int]]:
    """(kind, lines, number of images) of each kind that there is."""
    for kind, number in changes.totals.items():
        if number:
            before, after = rows_of(changes, kind)
            yield kind, describe(changes, kind, before[:most], after[:most]), number


def as_text(changes: Changes, title: str, more: Sequence[str] = ()) -> str:
    """For a terminal. more: lines that end it."""
    parts = [f"{title}\n{totals_line(changes)}", *notes(changes)]
    if any(changes.totals.values()):
        for header, body, _ in filter(None, (split_table(changes), class_table(changes))):
            parts.append(columns([header, *body], numbers=True))
        for kind, (header, body, words) in pair_tables(changes):
            rows = [[" -> ".join(row[:words]), *row[words:]] for row in body]
            parts.append(columns([[kind, *header[words:]], *rows], numbers=True))
        lines = []
        for kind, paths, number in examples(changes):
            lines += [f"{kind}", *(f"  {clip(path, WIDTH)}" for path in paths)]
            lines += [f"  and {number - len(paths):,} more"] * (number > len(paths))
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *filter(None, ["\n".join(more)])])


def as_markdown(changes: Changes, title: str, more: Sequence[str] = ()) -> str:
    """For a pull request."""
    parts = [f"### Data: {title}", f"{totals_line(changes)}.", *notes(changes)]
    if any(changes.totals.values()):
        tables = [split_table(changes), class_table(changes), *(one for _, one in pair_tables(changes))]
        parts += [table(header, body) for header, body, _ in filter(None, tables)]
    return "\n\n".join([*parts, *filter(None, ["\n".join(f"- {line}" for line in more)])])


def as_json(changes: Changes, sides: Sequence[Side]) -> dict[str, Any]:
    """Totals, and the same by class; see Changes for what each is."""
    by_class = changes.by_class
    return {
        "before": _side(sides[0], len(changes.before)),
        "after": _side(sides[1], len(changes.after)),
        **changes.totals,
        "by_class": {
            name: {kind: int(counts[place]) for kind, counts in by_class.items()}
            for place, name in enumerate(changes.classes.names)
        },
        "moves": [{"from": a, "to": b, "images": number} for a, b, number in changes.moves()],
        "relabellings": [{"from": a, "to": b, "images": number} for a, b, number in changes.relabellings(MOST_IN_JSON)],
    }


def _side(side: Side, images: int) -> dict[str, Any]:
    return {"name": side.name, "revision": side.revision, "dataset": side.dataset, "images": images}
