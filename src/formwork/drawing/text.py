"""Text that users chose, class and file names for the most part, in pictures and charts."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from matplotlib.font_manager import fontManager

FAMILY = ["DejaVu Sans", *sorted(name for name in set(fontManager.get_font_names()) if "CJK" in name)]
"""Matplotlib's own font, and for what it lacks those with Chinese, Japanese and Korean that are installed."""


@contextmanager
def missing_glyphs_ignored() -> Iterator[None]:
    """Draw a box for what no font has, without a warning for each: a user could only rename the class."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        yield


def cut(line: str, width: float, measure: Callable[[str], float]) -> str:
    """A line that is at most `width` wide, without its middle if need be: both ends of a file name say what it is."""
    if measure(line) <= width:
        return line
    fitting = bisect_right(range(len(line)), width, key=lambda kept: measure(_without_middle(line, kept)))
    return _without_middle(line, max(fitting - 1, 1))


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Lines of at most `width`; a word that is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and measure(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(cut(word, width, measure))
    return lines


def _without_middle(line: str, kept: int) -> str:
    return f"{line[: -(-kept // 2)]}…{line[len(line) - kept // 2 :]}"
