"""The page itself: sections as one HTML file that needs no other, and no network."""

from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from formwork.files import write_text
from formwork.folders import Folders
from formwork.params import Params
from formwork.tools.measure import commit
from formwork.tools.report.parts import Section
from formwork.tools.report.sections import sections


def report(params: Params, folders: Folders, path: Path) -> None:
    """Write the page.

    Raises:
        FormworkError: `path` cannot be written.
    """
    made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}"
    write_text(path, render(f"{params.data.name}, {params.model.name}", made, sections(params, folders)))
    print(f"Report: {path}")


def render(title: str, made: str, content: Sequence[Section]) -> str:
    """HTML. made: when and from what."""
    template = files("formwork.tools.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(title=title, made=made, sections=content)
