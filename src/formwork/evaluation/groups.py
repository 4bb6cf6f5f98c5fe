"""Scores of the groups of images that a table of labels names: of a patient, a camera, a hospital."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from formwork.escapes import cell
from formwork.evaluation.assess import Bootstrap
from formwork.evaluation.bootstrap import draws, interval, share_interval
from formwork.evaluation.metrics import METRICS
from formwork.evaluation.predictions import Predictions
from formwork.evaluation.tables import measured, with_ends
from formwork.formats import write_csv
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings

BLOCK_VALUES = 1 << 22


def write_groups(
    path: Path,
    found: Mapping[str, Predictions],
    manifests: Mapping[str, Manifest],
    settings: Settings,
    bootstraps: Mapping[str, Bootstrap],
) -> None:
    """Write the mean score and loss of the images of each group, a row a group.

    The interval of a group is that of its own images, drawn by themselves: it says how sure the score of this very
    group is.
    """
    rows: list[tuple[object, ...]] = []
    for split, predictions in found.items():
        each = METRICS[settings.task](predictions, settings).each
        rows += ((split, *row) for row in _rows(each, manifests[split], bootstraps[split]))
    columns = (column for name in each for column in with_ends(name))
    write_csv(path, [("split", "group", "images", *columns), *rows])


def _rows(each: Mapping[str, np.ndarray], manifest: Manifest, bootstrap: Bootstrap) -> Iterator[tuple[object, ...]]:
    names, codes = np.unique(np.array(list(manifest.groups or ())), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    random = draws(bootstrap.seed, f"{bootstrap.purpose} groups")
    for name, samples in zip(names.tolist(), np.split(order, np.cumsum(np.bincount(codes))[:-1]), strict=True):
        if not name:
            continue
        means = {score: values[samples].mean(dtype=np.float64) for score, values in each.items()}
        ends = _intervals({score: values[samples] for score, values in each.items()}, bootstrap.number, random)
        cells = (text for score, mean in means.items() for text in measured(mean, ends.get(score)))
        yield cell(name), len(samples), *cells


def _intervals(each: Mapping[str, np.ndarray], number: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """(2,) of the mean of each of the (M,) values; none where there is one image, or no resample."""
    count = len(next(iter(each.values())))
    if not number or count < 2:
        return {}
    block, found = max(BLOCK_VALUES // count, 1), []
    for start in range(0, number, block):
        drawn = random.integers(0, count, (min(block, number - start), count))
        found.append([values[drawn].mean(axis=1, dtype=np.float64) for values in each.values()])
    ends = {}
    for name, means in zip(each, np.concatenate(found, axis=1), strict=True):
        ends[name] = interval(means)
        if each[name].dtype == bool:
            ends[name] = share_interval(ends[name], each[name].mean(), np.array(count))
    return ends
