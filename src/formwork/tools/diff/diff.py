"""Compare a dataset at two revisions, and show what changed."""

import json
import sys
from pathlib import Path

from formwork.tools.diff.changes import Changes, compare
from formwork.tools.diff.page import write_page
from formwork.tools.diff.sides import Files, Side, find_side
from formwork.tools.diff.summary import as_json, as_markdown, as_text


def diff(before: str, after: str, form: str, download: bool, page: Path | None = None) -> None:
    """Print what changed from one side to the other.

    Args:
        before, after: as find_side takes them.
        form: "text", "markdown" or "json".
        page: HTML file to write, too.
        download: get what is missing from DVC's remote.

    Raises:
        FormworkError: a side is not there, or lacks files.
    """
    root = Path()
    sides = [find_side(root, asked) for asked in (before, after)]
    files = Files(root, download)
    changes = load(files, sides)
    title = f"{sides[0]} -> {sides[1]}"
    if form == "json":
        print(json.dumps(as_json(changes, sides), indent=2))
    else:
        print({"text": as_text, "markdown": as_markdown}[form](changes, title))

    if page:
        write_page(page, title, changes, files, sides)
        print(f"Page: {page}", file=sys.stderr)


def load(files: Files, sides: list[Side]) -> Changes:
    first, second = (files.images(side) for side in sides)
    return compare(first, second)
