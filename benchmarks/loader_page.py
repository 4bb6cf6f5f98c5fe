"""What the loader benchmark says: tables, a picture, and where Formwork loses, all worked out from its figures."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS, PEERS_DECODED, TURBOLOADER, TURBOLOADER_TBL
from formwork.conversion.write import Summary
from formwork.drawing.charts import COLOURS, OTHERS, chart
from formwork.text import table
from formwork.tools.measure import Rates, median_ratio

FFCV = "FFCVDataLoader (Formwork)"
OURS_PYTORCH = "PyTorchDataLoader (Formwork)"
STOCK = "stock FFCV"
PIL = "PyTorch (PIL)"
TORCHVISION = "PyTorch (torchvision)"
RESIZED = "PyTorch (PIL, resized before)"
LIBJPEG = "libjpeg-turbo alone"
AGAINST = (PIL, TORCHVISION, RESIZED, STOCK)

COLUMNS = 2  # of the chart
ON_README = ("photo, jpg 256", "photo, originals")  # workloads that have a chart of their own, bench_photos.svg

TARGETS = {"photo, jpg 256": 5.6, "photo, raw 256": 7.7, "tiny, raw": 2.6, "digit, raw": 1.3}
"""By workload: how many times faster than PyTorch's DataLoader FFCV has been claimed to be on data like it, which is
ImageNet, ImageNette, CIFAR-100 and MNIST."""


@dataclass(frozen=True)
class Measured:
    """One workload.

    Attributes:
        rates: images/s, by workers and contender.
        layouts: of a batch in memory, by contender.
        first: seconds from making a loader to its first batch, by contender, each time in a new process.
        uncompiled: the same for FFCVDataLoader once, where nothing is compiled yet.
        converted: what writing the beton took.
        compiling: as uncompiled, where the first batch waits until kernels are compiled.
    """

    workload: str
    rates: dict[int, dict[str, Rates]]
    layouts: dict[str, str]
    first: dict[str, list[float]]
    uncompiled: float | None
    converted: Summary
    compiling: float | None = None

    @property
    def workers(self) -> int:
        """The most that were measured."""
        return max(self.rates)

    def ratio(self, other: str, workers: int | None = None) -> float | None:
        """Images/s of FFCVDataLoader over those of another contender; None if that was not there."""
        rates = self.rates[workers or self.workers]
        return median_ratio(rates[FFCV], rates[other]) if other in rates else None

    def results(self) -> dict[str, object]:
        """All figures, for programs."""
        return {
            "images_per_second": {
                workers: {name: rate.values for name, rate in rates.items()} for workers, rates in self.rates.items()
            },
            "first_batch_seconds": self.first,
            "first_batch_seconds_nothing_compiled": self.uncompiled,
            "first_batch_seconds_compiling": self.compiling,
            "layout": self.layouts,
            "conversion": {**self.converted.metrics(), **self.converted.speed()},
        }


def body(measured: Sequence[Measured], rounds: int, picture: str | None) -> str:
    """The Markdown of the section. picture: file name of the chart beside the page."""
    first = measured[0]
    parts = [
        f"Images/s, consumed by an empty loop: median of {rounds} epochs after one to warm up, in turn; ± is half the "
        "range. Photos are 500 x 375 JPEGs of 117 kB, and RandomResizedCrop(224), a flip and normalisation are done to "
        "them; tiny images are 32 x 32 PNGs, digits 28 x 28 grey ones, both shifted by up to 4 pixels, flipped and "
        "normalised. PyTorch is its DataLoader on ImageFolder; resized before: on JPEGs of the beton's resolution, so "
        "that nobody takes smaller images for a faster loader. libjpeg-turbo alone decodes the beton's images, whole, "
        "and does nothing else; FFCVDataLoader has a decoder of its own, which makes pixels only of what a crop takes, "
        "and reads only the compressed data that this needs: with restart markers, which JPEGs that are encoded have "
        "and originals get in one of the workloads, from one to the next. Every other contender gives float32 tensors "
        "(B, 3, H, W)."
        f"{_layouts(measured)}{_peers(measured)}",
        f"FFCVDataLoader with {of_workers(first.workers)}, over each of the others; target: what has been claimed for "
        f"FFCV over PyTorch on ImageNet, ImageNette, CIFAR-100 and MNIST:\n\n{_summary(measured)}",
    ]
    if picture:
        parts.append(f"![Images per second of each loader on each workload]({picture})")
    for m in measured:
        parts.append(f"**{m.workload}**, images/s:\n\n{rates_table(m)}")
    parts.append(
        "First batch: seconds from making the loader to its first batch, in a process that has imported all it needs "
        f"and finds its kernels compiled; {of_workers(first.workers)}, median of {len(first.first[FFCV])} processes. "
        f"FFCV's own loader compiles in each process, and was measured once, on {first.workload}."
        f"{_uncompiled(measured)}\n\n{_first(measured)}"
    )
    parts.append("Where Formwork loses:\n\n" + "\n".join(f"- {line}" for line in losses(measured)))
    return "\n\n".join(parts)


def losses(measured: Sequence[Measured]) -> list[str]:
    """A sentence for each figure in which FFCVDataLoader is behind a contender or a target, and for a beton's cost."""
    return [
        sentence for m in measured for find in (_slower, _fallback, _later, _missed, _costs) for sentence in find(m)
    ]


def _slower(m: Measured) -> Iterator[str]:
    for workers, rates in m.rates.items():
        for name in rates:
            if name not in (FFCV, LIBJPEG) and (ratio := m.ratio(name, workers) or 1) < 1:
                where = f"{m.workload}, {of_workers(workers)}"
                yield f"{where}: FFCVDataLoader gives {ratio:.2f} times the images/s of {name}."


def _fallback(m: Measured) -> Iterator[str]:
    rates = m.rates[m.workers]
    if OURS_PYTORCH in rates and (ratio := median_ratio(rates[OURS_PYTORCH], rates[PIL])) < 1:
        yield f"{m.workload}, {of_workers(m.workers)}: PyTorchDataLoader gives {ratio:.2f} times the images/s of {PIL}."


def _later(m: Measured) -> Iterator[str]:
    seconds = {name: statistics.median(values) for name, values in m.first.items()}
    sooner = [f"{name} {value:.2f} s" for name, value in seconds.items() if value < seconds[FFCV]]
    if sooner:
        yield f"{m.workload}, first batch: FFCVDataLoader takes {seconds[FFCV]:.2f} s; {', '.join(sooner)}."


def _missed(m: Measured) -> Iterator[str]:
    target, ratio = TARGETS.get(m.workload), m.ratio(PIL)
    if target and ratio and ratio < target:
        yield f"{m.workload}, {of_workers(m.workers)}: {ratio:.1f} times {PIL}; the target is {target} times."


def _costs(m: Measured) -> Iterator[str]:
    """Before the first epoch, and on disk."""
    c = m.converted
    rates = m.rates[m.workers]
    saved = 1 / rates[PIL].median - 1 / rates[FFCV].median  # seconds an image
    cost = f"{m.workload}: writing the beton takes {c.seconds:.1f} s for {c.images:,} images"
    if saved > 0:
        epochs = c.seconds / c.images / saved
        cost += f", as much as is saved over {PIL} in {epochs:.1f} epochs"
    yield f"{cost}. It takes {c.beton_bytes / 1e6:,.0f} MB beside {c.source_bytes / 1e6:,.0f} MB of image files."


def of_workers(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def _layouts(measured: Sequence[Measured]) -> str:
    found = [(name, layout) for m in measured for name, layout in m.layouts.items()]
    last = list(dict.fromkeys(name for name, layout in found if layout == "channels_last"))
    return f" In memory they are channels_last with {', '.join(last)}; contiguous with the others." if last else ""


def _peers(measured: Sequence[Measured]) -> str:
    names = dict.fromkeys(name for m in measured for rates in m.rates.values() for name in rates)
    there = [name for name in names if name in PEERS]
    if not there:
        return ""
    text = (
        f" {', '.join(there)}, of the versions in benchmarks/requirements-peers.txt, are given the very JPEGs that the "
        "beton holds, each in its own format, and are written as their documentation has it. DALI has up to two "
        "batches of an epoch ready before it begins."
    )
    if TURBOLOADER in there:
        text += (
            f" {TURBOLOADER} decodes a crop at the smallest scale that libjpeg-turbo offers for its size, and does not "
            "smooth where it scales down further. It starts a thread for each core whatever it is told, so its process "
            "is held to as many cores as there are workers."
        )
    if names.keys() & PEERS_DECODED.keys():
        text += (
            f" {TURBOLOADER_TBL} has the images decoded beforehand, too, and stretched to squares of that resolution: "
            "its crops have other proportions than those of the others."
        )
    return text


def _summary(measured: Sequence[Measured]) -> str:
    others = [name for name in AGAINST if any(m.ratio(name) for m in measured)]
    header = ["workload", *others, "target", f"share of {LIBJPEG}"]
    rows = []
    for m in measured:
        ratios = [(name, m.ratio(name)) for name in others]
        rows.append(
            [
                m.workload,
                *(f"**{ratio:.1f} x**" if ratio else "" for _, ratio in ratios),
                f"{TARGETS[m.workload]} x" if m.workload in TARGETS else "",
                f"{share:.0%}" if (share := m.ratio(LIBJPEG)) else "",
            ]
        )
    return table(header, rows)


def rates_table(m: Measured) -> str:
    """Images/s of each contender, by workers."""
    most = m.rates[m.workers]
    return table(
        ["contender", *map(of_workers, m.rates), f"FFCVDataLoader over it, {of_workers(m.workers)}"],
        [
            [
                name,
                *(str(rates[name]) for rates in m.rates.values()),
                "" if name == FFCV else f"{m.ratio(name):.2f} x",
            ]
            for name in most
        ],
    )


def _first(measured: Sequence[Measured]) -> str:
    names = dict.fromkeys(name for m in measured for name in m.first)
    return table(
        ["contender", *(m.workload for m in measured)],
        [
            [name, *(f"{statistics.median(m.first[name]):.2f}" if name in m.first else "" for m in measured)]
            for name in names
        ],
    )


def _uncompiled(measured: Sequence[Measured]) -> str:
    found = next((m for m in measured if m.uncompiled), None)
    if found is None:
        return ""
    text = (
        " Once for each version of its code, FFCVDataLoader has it compiled: then its first batch takes "
        f"{found.uncompiled:.1f} s"
    )
    if found.compiling is None:
        return f"{text}."
    return (
        f"{text}, made like those after it by plain code, at a fraction of the speed; where FORMWORK_KERNELS=compiled "
        f"lets it wait for compiled code, {found.compiling:.1f} s."
    )


def draw(path: Path, measured: Sequence[Measured]) -> None:
    """A panel of bars for each workload, those with the most contenders first: images/s with the most workers."""
    panels = sorted(measured, key=lambda m: -len(m.rates[m.workers]))
    bars = [len(m.rates[m.workers]) for m in panels[::COLUMNS]]  # of the first panel in each row, which has the most
    heights = [0.5 + 0.22 * count for count in bars]  # inches
    with chart(path, len(bars), COLUMNS, (4.6, sum(heights) / len(bars))) as axes:
        grid = axes[0].get_gridspec()
        assert grid is not None  # chart makes one
        grid.set_height_ratios(heights)
        for number, (axis, m) in enumerate(zip(axes, panels, strict=False)):
            rates = m.rates[m.workers]
            medians = [rate.median for rate in rates.values()]
            drawn = axis.barh(list(rates), medians, color=[_colour(name) for name in rates])
            axis.bar_label(drawn, [f"{median:,.0f}" for median in medians], padding=3, fontsize=8)
            axis.set_xlim(0, max(medians) * 1.2)
            axis.set_ylim(bars[number // COLUMNS] - 0.4, -0.6)  # the first on top, and as thick in each panel
            title = f"{m.workload}: images/s, {of_workers(m.workers)}"
            axis.set_title(title, loc="left", x=-0.6)  # above the names, too: some are long
            axis.tick_params(left=False, bottom=False, labelbottom=False)
            axis.spines[["left", "bottom"]].set_visible(False)
            axis.grid(visible=False)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()


def _colour(name: str) -> str:
    known = {FFCV: "FFCV", STOCK: "stock FFCV", LIBJPEG: "limit"}
    if name in known:
        return COLOURS[known[name]]
    return COLOURS["PyTorch"] if name.startswith("PyTorch") or name == OURS_PYTORCH else OTHERS[1]
