"""Tool diff: which images were added, removed, replaced, relabelled or moved between two revisions of a dataset."""

import argparse
from pathlib import Path

from formwork.errors import run

SIDE = "a git revision, a DVC experiment or `workspace`; with `:photos` behind it, another dataset than data.name there"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", nargs="?", default="HEAD", metavar="A", help=f"{SIDE}; default: HEAD")
    parser.add_argument("after", nargs="?", default="workspace", metavar="B", help="the same; default: workspace")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_const", const="markdown", dest="form", help="for a pull request")
    form.add_argument("--json", action="store_const", const="json", dest="form", help="for programs")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write a page with pictures, too")
    parser.add_argument("--fetch", action="store_true", help="get what is missing of both from DVC's remote")
    a = parser.parse_args()

    from formwork.files import check_writable
    from formwork.tools.diff.diff import diff

    if a.html:
        check_writable(a.html)
    diff(a.before, a.after, a.form or "text", a.fetch, a.html)


if __name__ == "__main__":
    run(main)
