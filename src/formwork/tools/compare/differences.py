"""Which differences of the scores are real, in words and in figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from formwork.text import count, score
from formwork.tools.compare.answers import SPLITS, Answers
from formwork.tools.compare.statistics import (
    ALPHA,
    Estimate,
    estimate,
    holm,
    images_needed,
    mcnemar,
    scores_of,
    seeds_needed,
)

TITLES = {"val": "validation", "test": "test"}
HIGHER_IS_BETTER = {"classes": True, "multilabel": True, "regression": False}
SMALLEST_P = 0.001  # that is written with digits


@dataclass(frozen=True)
class Difference:
    """How two cases differ on a split.

    Attributes:
        first, second: names of the cases. metric: the score, such as "accuracy".
        scores: of both, means over the seeds.
        images, seeds: numbers of them.
        only_first, only_second: of classes, images that this case alone has right, summed over the seeds.
        same: both predict the same for every image.
        found: the estimate of second - first.
        p: found.p, corrected for the number of pairs.
        pairs: that number.
        needed_images, needed_seeds: see formwork.tools.compare.statistics.
    """

    split: str
    first: str
    second: str
    metric: str
    higher_is_better: bool
    scores: tuple[float, float]
    images: int
    seeds: int
    only_first: int | None
    only_second: int | None
    same: bool
    found: Estimate
    p: float
    pairs: int
    needed_images: int | None
    needed_seeds: int | None

    @property
    def is_real(self) -> bool:
        return self.p < ALPHA and self.found.excludes_zero

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        on = f"On {count(self.images, f'{TITLES[self.split]} image')}"
        if self.same:
            return f"{on}, {self.second} and {self.first} predict the same for every image."
        over = f" over {self.seeds} seeds" if self.seeds > 1 else ""
        if self.found.value == 0:
            start = f"{on}, {self.second} and {self.first} have the same {self.metric}{over}"
        else:
            word = "higher" if self.found.value > 0 else "lower"
            by = score(abs(self.found.value))
            start = f"{on}, {self.second} has a {word} {self.metric} than {self.first} by {by}{over}"
        ends = (self.found.low, self.found.high) if self.found.value >= 0 else (-self.found.high, -self.found.low)
        return f"{start} (95 % interval {' to '.join(map(score, ends))}, {self._p}): {self._verdict}."

    @property
    def _p(self) -> str:
        value = f"p = {self.p:.3f}" if self.p >= SMALLEST_P else f"p < {SMALLEST_P}"
        return f"{value} by {self.found.test}" + (f", corrected for {self.pairs} pairs" if self.pairs > 1 else "")

    @property
    def _verdict(self) -> str:
        if self.is_real:
            better = (self.found.value > 0) == self.higher_is_better
            return f"the difference is real, and {self.second} is the {'better' if better else 'worse'} one"
        needed = [count(_about(self.needed_images), "image")] if self.needed_images else []
        needed += [count(_about(self.needed_seeds), "seed")] if self.needed_seeds else []
        enough = f"; if it is as large as that, about {' or '.join(needed)} would show it" if needed else ""
        return f"it is not decided whether there is a difference{enough}"

    @property
    def figures(self) -> dict[str, Any]:
        """For programs."""
        return {
            "split": self.split,
            "first": self.first,
            "second": self.second,
            "metric": self.metric,
            "scores": list(self.scores),
            "difference": self.found.value,
            "interval": [self.found.low, self.found.high],
            "p": self.found.p,
            "p_corrected": self.p,
            "test": self.found.test,
            "is_real": self.is_real,
            "images": self.images,
            "seeds": self.seeds,
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "variance_of_images": self.found.of_images,
            "variance_of_seeds": self.found.of_seeds if self.seeds > 1 else None,
            "images_needed": self.needed_images,
            "seeds_needed": self.needed_seeds,
        }


def _about(number: int) -> int:
    """Rounded up to two digits: more of them would promise too much."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // step) * step


def find_differences(
    answers: Mapping[str, Sequence[Mapping[str, Answers]]], metric: str, deviations: Sequence[float]
) -> tuple[list[Difference], list[str]]:
    """The differences of all pairs of cases, split by split; and sentences on those that cannot be paired.

    Args:
        answers: by case, of the model of each seed, by split.
        deviations: see Answers.scores.
    """
    found, notes = [], []
    for split in SPLITS:
        cases = {name: [model[split] for model in models if split in model] for name, models in answers.items()}
        cases = {name: models for name, models in cases.items() if models}
        groups: list[dict[str, list[Answers]]] = []  # of cases that answer for the same images
        for name, models in cases.items():
            for group in groups:
                if all(model.same_images(next(iter(group.values()))[0]) for model in models):
                    group[name] = models
                    break
            else:
                groups.append({name: models})
        if len(groups) > 1:
            sides = " / ".join(", ".join(group) for group in groups)
            notes.append(
                f"Not all cases have the same {TITLES[split]} images and targets. Those that differ are not paired: "
                f"{sides}."
            )
        corrected = [one for group in groups for one in _of_group(group, split, metric, deviations)]
        values = holm([one.found.p for one in corrected])
        found += [replace(one, p=p, pairs=len(values)) for one, p in zip(corrected, values, strict=True)]
    return found, notes


def _of_group(
    cases: Mapping[str, Sequence[Answers]], split: str, metric: str, deviations: Sequence[float]
) -> Iterator[Difference]:
    """Of all pairs; p is not corrected yet."""
    if len(cases) < 2:
        return
    models = [(name, model) for name, of_case in cases.items() for model in of_case]
    one = models[0][1]
    units = one.units
    scores, resampled = scores_of([model.scores(deviations) for _, model in models], units)
    independent = int(units.max()) + 1
    for first, second in combinations(cases, 2):
        seeds = min(len(cases[first]), len(cases[second]))
        a, b = ([place for place, (name, _) in enumerate(models) if name == case][:seeds] for case in (first, second))
        pairs = list(zip(cases[first], cases[second], strict=False))
        lost = (
            [(int((x.right & ~y.right).sum()), int((y.right & ~x.right).sum())) for x, y in pairs]
            if _classes(one)
            else []
        )
        exact = mcnemar(*lost[0]) if lost and independent == len(units) else None
        of_pair = estimate(scores[a], scores[b], resampled[b] - resampled[a], exact, independent)
        yield Difference(
            split=split,
            first=first,
            second=second,
            metric=metric,
            higher_is_better=HIGHER_IS_BETTER[one.task],
            scores=(float(scores[a].mean()), float(scores[b].mean())),
            images=len(units),
            seeds=seeds,
            only_first=sum(only for only, _ in lost) if lost else None,
            only_second=sum(only for _, only in lost) if lost else None,
            same=all(x.same_as(y) for x, y in pairs),
            found=of_pair,
            p=of_pair.p,
            pairs=1,
            needed_images=images_needed(of_pair, len(units)),
            needed_seeds=seeds_needed(of_pair, seeds),
        )


def _classes(answers: Answers) -> bool:
    return answers.task == "classes"
