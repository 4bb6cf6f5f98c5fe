"""An HTML page that needs no other file and no network: what it is made of, and how it is written."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Text:
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Missing:
    """Says what is missing, and the command that makes it."""

    text: str
    command: str
    kind: str = "missing"


@dataclass(frozen=True)
class Table:
    """texts: number of columns, from the left, that hold words; the others hold numbers, and are aligned right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """source: a data URI. alt: what it shows, for those who do not see it."""

    source: str
    alt: str
    kind: str = "picture"

    @classmethod
    def of(cls, path: Path, alt: str) -> "Picture":
        """Raises OSError: it cannot be read."""
        return cls(data_uri(path), alt)


@dataclass(frozen=True)
class Figure:
    """One or more small pictures side by side, with lines of text below. A picture that there is not is None."""

    sources: Sequence[str | None]
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    figures: Sequence[Figure]
    kind: str = "gallery"


@dataclass(frozen=True)
class Code:
    """title: shown while the code is folded."""

    title: str
    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Html:
    html: str
    kind: str = "html"


Part = Text | Missing | Table | Picture | Gallery | Code | Html


@dataclass
class Section:
    title: str
    parts: list[Part] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def data_uri(path: Path) -> str:
    return as_uri(path.read_bytes(), TYPES[path.suffix])


def as_uri(content: bytes, kind: str) -> str:
    """A data URI of a media type such as image/png."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def markdown(text: str, folder: Path) -> Html:
    """A Markdown page as HTML, without its first heading; other headings two levels lower, pictures inside.

    Args:
        folder: that its pictures are relative to; one that is not there is left out.
    """
    text = re.sub(r"\A\s*# .*\n", "", text)
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)

    def inside(found: re.Match[str]) -> str:
        path = folder / found["path"]
        return f'<img src="{data_uri(path)}" alt="{found["alt"]}">' if path.exists() else ""

    html = re.sub(r'<img src="(?P<path>[^"]+)" alt="(?P<alt>[^"]*)"[^>]*>', inside, html)
    html = re.sub(r"<(/?)h([1-4])>", lambda found: f"<{found[1]}h{int(found[2]) + 1}>", html)
    # A wide table is scrolled by itself, not the page.
    return Html(html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>"))


def render(title: str, made: str, content: Sequence[Section]) -> str:
    """HTML. made: when and from what."""
    template = files("formwork.tools.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(title=title, made=made, sections=content)
