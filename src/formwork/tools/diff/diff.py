"""Compare a dataset at two revisions, and show what changed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from formwork.errors import FormworkError
from formwork.evaluation.predictions_file import read_predictions
from formwork.tools.diff.changes import Changes, compare
from formwork.tools.diff.flips import Flips, compare_predictions
from formwork.tools.diff.page import write_page
from formwork.tools.diff.sides import PREDICTIONS, Files, Side, find_side
from formwork.tools.diff.summary import as_json, as_markdown, as_text


def diff(before: str, after: str, form: str, download: bool = False, page: Path | None = None) -> None:
    """Print what changed from one side to the other.

    Args:
        before, after: as find_side takes them.
        form: "text", "markdown" or "json".
        download: get what is missing from DVC's remote.
        page: HTML file to write, too.

    Raises:
        FormworkError: a side is not there, or lacks files.
    """
    root = Path()
    sides = [find_side(root, asked) for asked in (before, after)]
    files = Files(root, download)
    first, second = (files.images(side) for side in sides)
    changes = compare(first, second)
    flips, more = _flips(files, sides, changes)
    more += [note for side in sides for note in files.notes(side)]
    title = f"{sides[0]} -> {sides[1]}"
    if form == "json":
        print(json.dumps(as_json(changes, sides) | {"predictions": flips and flips.figures}, indent=2))
        print(*more, sep="\n", end="\n" if more else "", file=sys.stderr)
    elif form == "markdown":
        print(as_markdown(changes, title, more))
    else:
        print(as_text(changes, title, more))
    if page:
        write_page(page, title, changes, more, files, sides)
        print(f"Page: {page}", file=sys.stderr)


def _flips(files: Files, sides: Sequence[Side], changes: Changes) -> tuple[Flips | None, list[str]]:
    """What the models of both sides predict, where both have predictions, and sentences on it."""
    try:
        found = [files.find(side, [PREDICTIONS]) for side in sides]
        if not all(found):
            return None, []
        flips = compare_predictions(changes, *(read_predictions(one[PREDICTIONS]) for one in found))
    except FormworkError as error:  # what changed in the data can be said without
        return None, [f"StoredPredictions are not compared: {error}"]
    return (flips, list(flips.lines())) if len(flips.pair) else (None, [])
