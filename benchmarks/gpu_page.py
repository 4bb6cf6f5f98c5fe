"""What the benchmark of training on a GPU says: tables, and whether the aims are met, worked out from its figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.loader_page import FFCV, of_workers
from formwork.text import count, table
from formwork.tools.measure import Rates, median_ratio

OURS = FFCV
STAYS = "a batch that stays there"
DALI = "NVIDIA DALI (nvJPEG)"
NVJPEG = "torchvision (nvJPEG)"
AIM_OF = "resnet50"
AIM = 0.98  # of the images/s on a batch that stays
WAITED = 0.02  # of the time, at most


@dataclass(frozen=True)
class Curves:
    """Two trainings, with images normalised by the kernels and on the device.

    Attributes:
        same: batches whose images are the same, bit for bit.
        by_kernels, there: the losses of each step.
    """

    same: int
    by_kernels: list[float]
    there: list[float]

    def __str__(self) -> str:
        batches = count(len(self.there), "batch", "batches")
        differences = [abs(a - b) for a, b in zip(self.by_kernels, self.there, strict=True)]
        losses = "are, too"
        if most := max(differences):
            first = next(i for i, difference in enumerate(differences) if difference)
            losses = f"differ from step {first + 1} on, by {most:.2g} at most"
        return f"the images of {self.same} of {batches} are the same bit for bit, and the losses {losses}"


@dataclass(frozen=True)
class Measured:
    """One workload.

    Attributes:
        rates, waited: images/s of training, and the share of its time in which the GPU had no step to compute, by model
            and loader.
        left_out: why a loader was not measured, by its name.
        alone: images/s of FFCVDataLoader in an empty loop, by workers.
        curves: with and without normalisation on the device.
    """

    workload: str
    workers: int
    rates: dict[str, dict[str, Rates]]
    waited: dict[str, dict[str, float]]
    left_out: dict[str, str]
    alone: dict[int, Rates]
    curves: Curves

    def results(self) -> dict[str, object]:
        """All figures, for programs."""
        return {
            "images_per_second": {
                model: {name: rate.values for name, rate in rates.items()} for model, rates in self.rates.items()
            },
            "waited": self.waited,
            "left_out": self.left_out,
            "loader_alone": {workers: rate.values for workers, rate in self.alone.items()},
            "losses": {"by_kernels": self.curves.by_kernels, "there": self.curves.there},
        }


def body(measured: Sequence[Measured], gpu: str | None, batch_size: int, rounds: int) -> str:
    """The Markdown of the section. gpu: its name; None: that was the CPU, whose figures meet no aim and miss none."""
    on = gpu or "the CPU, as a rehearsal"
    parts = [
        f"Training on {on}, in bf16 (autocast) and channels_last, batches of {batch_size}, "
        f"{of_workers(measured[0].workers)}: images/s of all steps of an epoch but the first, median of "
        f"{count(rounds, 'epoch')} after one to warm up, in turn; ± is half the range. Waiting is the share of that "
        "time in which the device had no step to compute, by its own clock. All give normalised float32; those that "
        "read files read JPEGs of the beton's resolution. The limit is a batch that stays on the device. nvJPEG's "
        "pixels are not those of libjpeg-turbo.",
        *(_of(one) for one in measured),
        _alone(measured),
        "Normalised on the device and by the kernels: "
        + "; ".join(f"{one.workload}: {one.curves}" for one in measured)
        + ".",
    ]
    left_out = {f"{name}: {why}" for one in measured for name, why in one.left_out.items()}
    if left_out:
        parts.append("Left out:\n\n" + "\n".join(f"- {line}" for line in sorted(left_out)))
    if gpu:
        parts.append(_verdict(measured))
    return "\n\n".join(part for part in parts if part)


def _of(one: Measured) -> str:
    models = list(one.rates)
    names = list(one.rates[models[0]])
    rows = []
    for name in names:
        row = [name]
        for model in models:
            rates = one.rates[model]
            row += [
                str(rates[name]),
                "" if name == STAYS else f"**{median_ratio(rates[name], rates[STAYS]):.1%}**",
                f"{one.waited[model][name]:.1%}",
            ]
        rows.append(row)
    columns = [f"{model}{what}" for model in models for what in (", images/s", ", of the limit", ", waiting")]
    return f"**{one.workload}**:\n\n{table(['loader', *columns], rows)}"


def _alone(measured: Sequence[Measured]) -> str:
    workers = list(measured[0].alone)
    rows = [[one.workload, *(str(one.alone[number]) for number in workers)] for one in measured]
    header = ["workload", *(count(number, "worker") for number in workers)]
    return f"FFCVDataLoader alone, images/s as uint8:\n\n{table(header, rows)}"


def _verdict(measured: Sequence[Measured]) -> str:
    verdicts = []
    for one in measured:
        if AIM_OF not in one.rates:
            return ""
        rates, waited = one.rates[AIM_OF], one.waited[AIM_OF][OURS]
        share = median_ratio(rates[OURS], rates[STAYS])
        met = share >= AIM and waited < WAITED
        verdicts.append(f"{'met' if met else 'missed'} on {one.workload} ({share:.1%}, {waited:.1%})")
    return (
        f"The aim is at least {AIM:.0%} of the limit with {AIM_OF}, and less than {WAITED:.0%} of the time waiting: "
        f"{', '.join(verdicts)}."
    )
