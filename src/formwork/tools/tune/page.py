"""The results of tune: a page of Markdown, JSON for programs, and a chart."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from formwork.files import write_text
from formwork.formats import write_json
from formwork.interim.settings import Settings
from formwork.loading.base import LoaderConfig
from formwork.params import Operations, Params
from formwork.text import format_bytes, table
from formwork.tools.measure import environment
from formwork.tools.tune.chart import draw
from formwork.tools.tune.grid import changes
from formwork.tools.tune.pick import TIE, Loading, Measured, choose_loading, command, rule, undominated

BUSY = 0.15  # typical spread of the rates, from which on they are not to be trusted


@dataclass
class Page:
    """What was found, and how it is shown.

    Attributes:
        config: of the loader that was measured. augment: its operations, as in params.yaml.
        sample, total: images.
        budget: bytes. budget_is: what they are, where the user named none.
        measured: from the smallest to the largest.
        failure: why none was picked.
    """

    params: Params
    settings: Settings
    config: LoaderConfig
    augment: Operations
    sample: int
    total: int
    rounds: int
    budget: float
    budget_is: str
    min_psnr: float
    measured: Sequence[Measured]
    picked: Measured | None = None
    loading: Loading | None = None
    failure: str | None = None

    def write(self, folder: Path) -> None:
        """Write tune.json, tune.md and tune.png, and print the Markdown."""
        machine = environment()
        numbered = dict(enumerate(self.measured, 1))
        best = undominated(self.measured)
        pareto = [number for number, one in numbered.items() if any(one is other for other in best)]
        (now,) = (number for number, one in numbered.items() if self.params.ffcv.beton in one.params)
        picked = next((number for number, one in numbered.items() if one is self.picked), None)
        title = f"{self.settings.name}: ways to store {self.total:,} images for training at {self._side} pixels"
        draw(folder / "tune.png", title, numbered, pareto, picked, now, self.budget, self.min_psnr)
        write_json(folder / "tune.json", self._facts(machine))
        text = "\n\n".join(
            [
                f"# {title}",
                self._outcome(),
                self._storage(numbered, pareto),
                "![size against PSNR, with images/s as colour](tune.png)",
                *self._loading(),
                self._method(),
                "Measured on " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".",
            ]
        )
        write_text(folder / "tune.md", text + "\n")
        print(f"{text}\n\n{folder}/tune.md has this text, tune.png the chart, tune.json all figures.")

    @property
    def changed(self) -> dict[str, object]:
        """Keys of params.yaml that the pick changes, and their new values."""
        if not self.picked or not self.loading:
            return {}
        beton = changes(self.picked.params[0], self.params.ffcv.beton)
        return {f"ffcv.beton.{key}": value for key, value in beton.items()} | choose_loading(
            self.loading, self.params.data, self.params.ffcv
        )

    @property
    def _side(self) -> int:
        return self.settings.resolution

    def _outcome(self) -> str:
        words = rule(self.budget, self.min_psnr)
        if self.budget_is:
            words += f" The budget is {self.budget_is}."
        if not self.picked:
            return f"{words}\n\n**Nothing was picked.** {self.failure}"
        line = command(self.changed)
        advice = (
            f"Take it over with\n\n    {line}" if line else "params.yaml has it already: there is nothing to change."
        )
        return f"**Pick: {self.picked.name}.** {words}{self._noise()}\n\n{self._against_now(self.picked)}{advice}"

    def _against_now(self, picked: Measured) -> str:
        (now,) = (one for one in self.measured if self.params.ffcv.beton in one.params)
        if now is picked:
            return ""
        faster, larger = picked.rates.median / now.rates.median, picked.size.estimate / now.size.estimate
        psnr = " instead of ".join(show_psnr(one.fidelity.psnr) for one in (picked, now))
        return (
            f"Beside {now.name}, which params.yaml has now: {faster:.2g} times the images/s, {larger:.2g} times the "
            f"size, PSNR {psnr}.\n\n"
        )

    def _storage(self, numbered: Mapping[int, Measured], pareto: Sequence[int]) -> str:
        rows = []
        for number, one in numbered.items():
            marks = [
                *(["**pick**"] if one is self.picked else []),
                *(["now"] if self.params.ffcv.beton in one.params else []),
                *(["Pareto"] if number in pareto else []),
            ]
            rows.append(
                [
                    number,
                    one.name,
                    show_size(one),
                    str(one.rates) + ("" if one.fits else " (from the disk)"),
                    show_psnr(one.fidelity.psnr),
                    show_psnr(one.fidelity.worst_psnr),
                    show_shares(one.shares),
                    ", ".join(marks),
                    ", ".join(one.names[1:]),
                ]
            )
        header = "#", "setting", "size", "images/s", "PSNR, dB", "worst image", "stored as", "", "the same as"
        return table(header, rows)

    def _loading(self) -> list[str]:
        if not (self.loading and self.picked):
            return []
        betons, memory = format_bytes(self.picked.size.estimate), format_bytes(self.loading.memory)
        workers = [[number, str(rates)] for number, rates in self.loading.workers.items()]
        orders = [[order, str(rates)] for order, rates in self.loading.orders.items()]
        parts = [f"With {self.picked.name}:", table(["data.num_workers", "images/s"], workers)]
        if orders:
            parts += [
                f"The betons, {betons}, do not stay in a memory of {memory}: `ffcv.os_cache: false` is advised. With "
                "it, each image is read from the disk:",
                table(["ffcv.order", "images/s"], orders),
            ]
        else:
            parts.append(
                f"The betons, {betons}, stay in a memory of {memory}: `ffcv.os_cache: true` is advised, and "
                "`ffcv.order` makes no difference to the speed."
            )
        return parts

    def _method(self) -> str:
        config, side = self.config, self._side
        sampled = (
            "all images" if self.sample == self.total else f"{self.sample:,} of the images, each class with its share"
        )
        batch = f"batches of {config.batch_size}"
        if config.batch_size < self.params.data.batch_size:
            batch += f" (not {self.params.data.batch_size}: the sample is small)"
        return "\n".join(
            [
                f"- Measured on {sampled}, in betons that are in memory, as those of the dataset would be, or `from "
                "the disk` where they would not.",
                "- size: of the betons of all splits, ± half the 95 % interval of the extrapolation.",
                f"- images/s: of FFCVDataLoader with {config.num_workers} workers, {batch}, {side} x {side} pixels, "
                f"{config.dtype}, and the training augmentation {_listed(self.augment)}: the median of {self.rounds} "
                "measurements in turn, ± half their range.",
                f"- PSNR: against the original images, both brought to {side} x {side} pixels as in validation, of the "
                "mean squared error of all images; `exact`: all pixels are the same. Random crops of a small part show "
                "more of what images that were scaled down have lost.",
                f"- Pareto: no other setting is as small, as true to the originals and, within {TIE:.0%}, as fast.",
            ]
        )

    def _noise(self) -> str:
        spread = statistics.median(one.rates.spread for one in self.measured)
        if spread < BUSY:
            return ""
        return (
            f"\n\n**The machine does other work: measurements of the same setting differ by ± {spread:.0%}. Try again "
            "when it is idle, or take more --rounds.**"
        )

    def _facts(self, machine: Mapping[str, str]) -> dict[str, Any]:
        return {
            "machine": machine,
            "dataset": self.settings.name,
            "images": {"sample": self.sample, "total": self.total, "seed": self.params.seed},
            "loader": {
                "workers": self.config.num_workers,
                "batch_size": self.config.batch_size,
                "resolution": self._side,
                "dtype": self.config.dtype,
                "augment": self.augment,
            },
            "rounds": self.rounds,
            "budget_bytes": self.budget,
            "min_psnr": self.min_psnr,
            "settings": [self._fact(one) for one in self.measured],
            "loading": None
            if self.loading is None
            else {
                "num_workers": {number: rates.values for number, rates in self.loading.workers.items()},
                "order_without_os_cache": {order: rates.values for order, rates in self.loading.orders.items()},
                "memory_bytes": self.loading.memory,
            },
            "pick": {"params": self.changed, "command": command(self.changed)} if self.picked else None,
            "failure": self.failure,
        }

    def _fact(self, one: Measured) -> dict[str, Any]:
        fidelity = {name: None if value == math.inf else value for name, value in asdict(one.fidelity).items()}
        return {
            "params": one.params[0].model_dump(),
            "same": [params.model_dump() for params in one.params[1:]],
            "bytes": one.size.estimate,
            "bytes_spread": one.size.spread,
            "images_per_second": one.rates.values,
            "exact": one.fidelity.psnr == math.inf,
            **fidelity,
            "shares": one.shares,
            "fits_into_memory": one.fits,
            "pick": one is self.picked,
        }


def show_size(one: Measured) -> str:
    """ "5.1 GB ± 2%" """
    share = one.size.spread / one.size.estimate
    return format_bytes(one.size.estimate, "#.3g") + (f" ± {share:.1%}" if share >= 0.0005 else "")


def show_psnr(psnr: float) -> str:
    return "exact" if psnr == math.inf else f"{psnr:.2f}"


def show_shares(shares: Mapping[str, float]) -> str:
    """ "60% jpg, 40% raw; 60% are the files themselves" """
    text = ", ".join(f"{100 * shares[mode]:.3g}% {mode}" for mode in ("jpg", "raw") if shares[mode])
    passed = shares["passed_through"]
    return f"{text}; {100 * passed:.3g}% are the files themselves" if passed else text


def _listed(operations: Operations) -> str:
    texts = []
    for operation in operations:
        ((name, arguments),) = operation.items()
        texts.append(f"{name}({', '.join(f'{key}={value}' for key, value in (arguments or {}).items())})")
    return ", ".join(texts) or "(none)"
