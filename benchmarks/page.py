"""docs/benchmarks.md: each benchmark writes its own section, and leaves the others as they are."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from formwork.errors import FormworkError
from formwork.files import write_text
from formwork.formats import write_json
from formwork.tools.measure import environment

ROOT = Path(__file__).resolve().parents[1]


def add_page_arguments(parser: argparse.ArgumentParser, page: str = "benchmarks.md") -> None:
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / page, help="Markdown page to write into")
    parser.add_argument("--results", type=Path, default=ROOT / "results/bench", help="folder for the figures as JSON")


def publish(section: str, command: str, body: str, results: Mapping[str, object], page: Path, folder: Path) -> None:
    """Print a benchmark's result, write it to `folder`/<section>.json, and put it into its section of `page`.

    Args:
        section: name of the benchmark; the page has the lines `<!-- begin <section> -->` and `<!-- end <section> -->`.
        command: what reproduces the figures.
        body: Markdown.
        results: the same figures for programs.

    Raises:
        FormworkError: the page has no such section.
    """
    machine = environment()
    on = ", ".join(f"{key} {value}" if key not in ("cpu", "memory") else value for key, value in machine.items())
    text = f"{body}\n\n`{command}` on {on}.\n"
    print(text)
    write_json(folder / f"{section}.json", {"command": command, "machine": machine, **results})
    begin, end = f"<!-- begin {section} -->\n", f"<!-- end {section} -->"
    before = page.read_text(encoding="utf-8")
    after, found = re.subn(
        re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}{text}{end}", before, flags=re.DOTALL
    )
    if not found:
        raise FormworkError(f"{page} has no section {section!r}: add the lines {begin.strip()} and {end} to it.")
    write_text(page, after)
