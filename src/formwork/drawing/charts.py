"""Charts in one style: figures of matplotlib that need no display and are the same bytes for the same content."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from formwork.drawing.text import FAMILY, missing_glyphs_ignored
from formwork.files import atomic_write

COLOURS = {"FFCV": "#0072b2", "PyTorch": "#e69f00", "stock FFCV": "#009e73", "limit": "#999999"}
"""One colour for one loader on every chart; of Okabe and Ito's palette, which colour-blind people tell apart."""
OTHERS = ("#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=[*COLOURS.values(), *OTHERS]),
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "font.family": FAMILY,
    "grid.color": "#e5e5e5",
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "svg.hashsalt": "formwork",
}


@contextmanager
def chart(path: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.2, 3.2)) -> Iterator[list[Axes]]:
    """Draw on the axes that this gives, row by row; at the end they are written to `path`, an .svg or .png.

    Args:
        size: of each panel, width and height in inches.

    Raises:
        FormworkError: `path` cannot be written.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        yield list(figure.subplots(rows, columns, squeeze=False).flat)
        with atomic_write(path) as file, missing_glyphs_ignored():
            kind = path.suffix[1:]
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(file, format=kind, dpi=150, metadata=metadata)
