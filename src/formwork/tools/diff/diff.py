"""Compare a dataset at two revisions, and show what changed."""

import json
import sys
from pathlib import Path

from formwork.tools.diff.changes import compare
from formwork.tools.diff.page import write_page
from formwork.tools.diff.sides import Files, find_side
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
    notes = [note for side in sides for note in files.notes(side)]
    title = f"{sides[0]} -> {sides[1]}"
    if form == "json":
        print(json.dumps(as_json(changes, sides), indent=2))
        print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)
    else:
        print({"text": as_text, "markdown": as_markdown}[form](changes, title, notes))
    if page:
        write_page(page, title, changes, files, sides)
        print(f"Page: {page}", file=sys.stderr)
