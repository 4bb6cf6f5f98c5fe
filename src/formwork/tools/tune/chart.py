"""The chart of tune: size against fidelity, with the speed as colour."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from formwork.drawing.charts import chart
from formwork.escapes import printable
from formwork.text import format_bytes
from formwork.tools.tune.pick import Measured, show_limit

MARKERS = {"jpg": "o", "smart": "s", "proportion": "D", "raw": "^"}
LINES_OF_KEY = 22  # at most
LIMIT, EXCLUDED = "#777777", "#f4f4f4"
RINGS = {"pick": "#d55e00", "params.yaml now": "#000000"}
BESIDE = 1.35  # the horizontal axis ends at so many times the largest size, and before the smallest likewise


def draw(
    path: Path,
    title: str,
    measured: Mapping[int, Measured],
    pareto: Sequence[int],
    picked: int | None,
    now: int,
    budget: float,
    min_psnr: float,
) -> None:
    """Write a PNG or SVG.

    Args:
        measured: by number.
        pareto: numbers of those that are better than any other in something. Where there are too many for the key,
            they and the marked ones alone have a number beside them and a line in it.
        picked, now: numbers of those that are marked.
        budget: bytes. min_psnr: dB.

    Raises:
        FormworkError: `path` cannot be written.
    """
    with chart(path, columns=2, size=(5.8, 4.9)) as (axis, key):
        places = _places(axis, measured, budget, min_psnr)
        rates = {number: one.rates.median for number, one in measured.items()}
        for mode, marker in MARKERS.items():
            some = [number for number, one in measured.items() if one.params[0].write_mode == mode]
            points = axis.scatter(
                [places[n][0] for n in some], [places[n][1] for n in some], 55, [rates[n] for n in some], marker=marker,
                cmap="viridis", vmin=min(rates.values()), vmax=max(rates.values()), edgecolors="#444444",
                linewidths=0.5, zorder=3,
            )  # fmt: skip
        axis.figure.colorbar(points, ax=axis, format="{x:,.0f}", pad=0.02).ax.set_title("images/s", fontsize=8)
        ringed = {name: number for name, number in zip(RINGS, (picked, now), strict=True) if number is not None}
        for size, (name, number) in zip((260, 160), ringed.items(), strict=False):
            axis.scatter(*places[number], size, "none", edgecolors=RINGS[name], linewidths=1.6, zorder=4)
        named = list(measured) if len(measured) <= LINES_OF_KEY else sorted({*pareto, *ringed.values()})
        for number in named:
            axis.annotate(str(number), places[number], (5, 5), textcoords="offset points", fontsize=8, zorder=5)
        axis.set_title(printable(title), loc="left")
        axis.set_xlabel("size of the betons together")
        axis.set_ylabel("PSNR against the originals, dB")
        _key(key, measured, named, ringed, budget, min_psnr)


def _places(
    axis: Axes, measured: Mapping[int, Measured], budget: float, min_psnr: float
) -> dict[int, tuple[float, float]]:
    """Where each stands. Those without any error stand on a line of their own above the others."""
    sizes = {number: one.size.estimate for number, one in measured.items()}
    left, right = min(sizes.values()) / BESIDE, max(sizes.values()) * BESIDE
    axis.set_xscale("log")
    axis.set_xlim(left, right)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda size, _: format_bytes(size)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    finite = [psnr for psnr in (min_psnr, *(one.fidelity.psnr for one in measured.values())) if np.isfinite(psnr)]
    low, high = min(finite, default=0), max(finite, default=0)
    step = max((high - low) * 0.12, 1)
    exact = high + step
    axis.set_ylim(low - step, exact + step)
    ticks = [tick for tick in axis.get_yticks() if low - step <= tick <= high + step / 2]
    axis.set_yticks([*ticks, exact], [*(f"{tick:g}" for tick in ticks), "exact"])
    axis.axhline(min(min_psnr, exact), color=LIMIT, linestyle="--", linewidth=1)
    axis.axhspan(low - step, min(min_psnr, exact), color=EXCLUDED, zorder=0)
    if left < budget < right:
        axis.axvline(budget, color=LIMIT, linestyle=":", linewidth=1.5)
        axis.axvspan(budget, right, color=EXCLUDED, zorder=0)
    return {number: (sizes[number], min(one.fidelity.psnr, exact)) for number, one in measured.items()}


def _key(
    axis: Axes,
    measured: Mapping[int, Measured],
    named: Sequence[int],
    ringed: Mapping[str, int],
    budget: float,
    min_psnr: float,
) -> None:
    """What the signs mean, and the settings that are named."""
    axis.axis("off")
    modes = {one.params[0].write_mode for one in measured.values()}
    signs = [
        Line2D([], [], color="none", marker=marker, markerfacecolor="#bbbbbb", markeredgecolor="#444444", label=mode)
        for mode, marker in MARKERS.items()
        if mode in modes
    ]
    signs += [
        Line2D([], [], color="none", marker="o", markersize=11, markerfacecolor="none", markeredgecolor=RINGS[name],
               markeredgewidth=1.6, label=name)
        for name in ringed
    ]  # fmt: skip
    sizes = [one.size.estimate for one in measured.values()]
    beyond = "" if min(sizes) / BESIDE < budget < max(sizes) * BESIDE else ", beyond the chart"
    signs += [
        Line2D([], [], color=LIMIT, linestyle=":", linewidth=1.5, label=f"budget, {format_bytes(budget)}{beyond}"),
        Line2D([], [], color=LIMIT, linestyle="--", linewidth=1, label=f"PSNR {show_limit(min_psnr)}"),
    ]
    axis.legend(handles=signs, loc="upper left", ncols=3, columnspacing=1.2, borderaxespad=0)
    width = max(len(measured[number].name) for number in named)
    lines = [f"    {'':{width}} {'size':>8} {'PSNR':>9}  images/s"]
    for number in named[:LINES_OF_KEY]:
        one = measured[number]
        psnr = "exact" if np.isinf(one.fidelity.psnr) else f"{one.fidelity.psnr:.2f} dB"
        size = format_bytes(one.size.estimate, "#.3g")
        lines.append(f"{number:>2}  {one.name:{width}} {size:>8} {psnr:>9} {one.rates.median:>9,.0f}")
    if len(named) > LINES_OF_KEY:
        lines.append(f"    and {len(named) - LINES_OF_KEY} more, in the table")
    if len(named) < len(measured):
        lines += ["", "Settings without a number: one of these is", "as small, as true to the originals and as fast."]
    axis.text(0, 0.84, "\n".join(lines), transform=axis.transAxes, va="top", family="DejaVu Sans Mono", fontsize=7)
