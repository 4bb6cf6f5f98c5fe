"""Whether two images are copies at sight, by their perceptual hashes: the second look at the few pairs that a search
finds.

Both hashes are turned back to 16 x 16 grey values, and the crop of one that is most like the other is found by
Gauss-Newton steps over its place and size (Lucas and Kanade, 1981; Baker and Matthews, 2004). They are copies if they
are then correlated: as they are, in the middle, and with all frequencies weighted alike.

How large the last correlation must be depends on how much it says. Of n independent numbers, a correlation of r or more
has the odds of about (1 - r^2)^(n / 2). Counted are the frequencies that rise above noise, so that two skies that grow
darker to the top are no copies, and never more than the dataset varies in: handwritten digits, which all look alike,
in 16. What all its images have in common is taken off first.
"""

from typing import NamedTuple

import numpy as np

from formwork.datasets.near_search import UNCROPPED, VIEWED, VIEWS, Pairs, by_content
from formwork.datasets.perceptual_hash import (
    COEFFICIENTS,
    COLUMNS,
    CUTOFF,
    FREQUENCIES,
    MIRROR,
    ROWS,
    SIDE,
    TRANSFORM,
    times,
)

SIGNAL = 4.0  # grey levels: of a coefficient above noise and what JPEG leaves, a quarter of one in each cell
ALIKE, ALIKE_WEIGHTED, ALIKE_INSIDE = 0.88, 0.87, 0.88  # least correlations of copies
MIDDLE = slice(SIDE // 4, SIDE - SIDE // 4)  # of the cells: many images have the same frame or mark in a corner
EVIDENCE = 8.0  # decimal digits of the odds against a correlation, beyond those of the number of pairs in the dataset
CHOICES = 2.0  # as many digits more where a crop was looked for: the best of many is easily alike
FEW = 100  # images that count as much as the dataset's own for what images have in common, and in what they vary
PROMISING = 0.5, 0.55, 0.8  # shares of the digits of evidence that make a pair worth a look, and each step further
EXACT = 0.95  # as PROMISING, where no crop is looked for
LARGEST_STEP = 0.06  # of an image's side
LARGEST_CROP, LARGEST_SHIFT = 0.75, 0.12  # of the sides of the image: what is left of one, and how far its middle moves
AT_ONCE = 256  # pairs or images: what is computed of them fits a core's cache
MEASURED = 2048  # images of a dataset, evenly chosen by content, that stand for all of a larger one
MIDDLES = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5  # of cells, from the middle of the image
WAVES = np.arange(CUTOFF, dtype=np.float32) * np.float32(np.pi)  # of the cosine of each frequency along a side
WEIGHTED = (TRANSFORM * FREQUENCIES).astype(np.float32)
CELLS = np.ascontiguousarray(TRANSFORM.T, np.float32)
FREQUENCY = FREQUENCIES.astype(np.float32)
NORM = np.where(ROWS == 0, 1, np.sqrt(2)) * np.where(COLUMNS == 0, 1, np.sqrt(2)) / SIDE  # of a coefficient's cosines


def structure(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """(N,) the number of frequencies that an image has more of than noise: a plain one has none."""
    found = np.empty(len(codes), np.int64)
    for start in range(0, len(codes), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found[part] = np.count_nonzero(np.abs(codes[part] * scales[part, None]) > SIGNAL * FREQUENCY, axis=1)
    return found


class _Dataset(NamedTuple):
    """What correlations of images in a dataset are measured by.

    Attributes:
        common: (COEFFICIENTS,) mean of the codes of all images, each of length 1.
        dimensions: the number of independent numbers that would vary as the codes do.
        evidence: decimal digits of the odds that make two images copies.
    """

    common: np.ndarray
    dimensions: float
    evidence: float


def _measure(codes: np.ndarray) -> _Dataset:
    """Of few images, little is known: they are taken to vary in all COEFFICIENTS, and to have nothing in common."""
    evidence = EVIDENCE + np.log10(len(codes) * (len(codes) - 1) / 2)
    if len(codes) > MEASURED:
        codes = codes[by_content(codes)[:: -(-len(codes) // MEASURED)]]
    images = len(codes)
    directions = _directions(codes)
    common = directions.sum(axis=0) / (images + FEW)
    rest = _directions(directions - common)
    products = times(rest.T, rest)
    pairs = images * (images - 1)
    likeness = max((np.square(products).sum() - images) / pairs, 1 / COEFFICIENTS)  # mean of cos^2 of two images
    dimensions = (images + FEW) / (images * likeness + FEW / COEFFICIENTS)
    return _Dataset(common.astype(np.float32), dimensions, evidence)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Each of length 1."""
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def are_copies(pairs: Pairs, codes: np.ndarray, scales: np.ndarray, views: np.ndarray) -> np.ndarray:
    """(P,) bool.

    Args:
        pairs: as formwork.datasets.near_search.find_pairs gives them.
        codes, scales: of all images, see formwork.datasets.perceptual_hash.decode_hashes.
        views: as for that.
    """
    mirrored = np.array([view.mirrored for view in VIEWS])
    result = np.zeros(len(pairs.first), bool)
    if not len(result):
        return result
    dataset = _measure(codes)
    croppable = np.minimum(views[pairs.first], views[pairs.second]) > UNCROPPED
    promising = _promising(pairs, codes, scales, croppable, dataset)
    for start in range(0, len(promising), AT_ONCE):
        part = promising[start : start + AT_ONCE]
        first, second, view = (column[part] for column in pairs)
        a, b = (codes[rows] * scales[rows, None] / FREQUENCY for rows in (first, second))
        a[mirrored[view]] *= MIRROR
        result[part] = _match(a, b, _of_views(view), croppable[part], dataset)
    return result


def _promising(
    pairs: Pairs, codes: np.ndarray, scales: np.ndarray, croppable: np.ndarray, dataset: _Dataset
) -> np.ndarray:
    """(Q,) positions of the pairs that are worth a closer look, which costs far more: as the hashes have it, without
    turning them back to grey values, their correlation in the view says enough."""
    found = []
    for number in np.unique(pairs.view):
        view = VIEWS[number]
        known = CUTOFF * min(1 - view.left - view.right, 1 - view.top - view.bottom) > FREQUENCY
        positions = np.flatnonzero(pairs.view == number)
        for start in range(0, len(positions), AT_ONCE):
            part = positions[start : start + AT_ONCE]
            first, second = pairs.first[part], pairs.second[part]
            x = _unit(times(codes[first].astype(np.float32), VIEWED[number]) * known)
            y = _unit(codes[second] * known.astype(np.float32))
            signals = np.minimum(*(structure(codes[rows], scales[rows]) for rows in (first, second)))
            odds = _odds(_correlation(x - dataset.common * known, y - dataset.common * known), signals, dataset)
            found.append(part[odds >= dataset.evidence * np.where(croppable[part], PROMISING[0], EXACT)])
    return np.sort(np.concatenate(found))


def _of_views(view: np.ndarray) -> np.ndarray:
    """(P, 4) float32: how the places of an image, from its middle, are those of another, which shows it in this view:
    times a scale, plus a shift, along x and along y."""
    warps = []
    for left, top, right, bottom, mirrored in VIEWS:
        shift = (right - left) / 2 if mirrored else (left - right) / 2
        warps.append([1 - left - right, shift, 1 - top - bottom, (top - bottom) / 2])
    return np.array(warps, np.float32)[view]


def _match(a: np.ndarray, b: np.ndarray, warps: np.ndarray, croppable: np.ndarray, dataset: _Dataset) -> np.ndarray:
    """(P,) whether two images are copies.

    Args:
        a, b: (P, COEFFICIENTS), in grey levels.
        warps: where to begin.
    """
    matched = np.zeros(len(a), bool)
    left = np.arange(len(a))  # pairs that are neither copies yet nor given up
    waves = np.zeros((len(a), CUTOFF, CUTOFF), np.float32)
    waves[:, ROWS, COLUMNS] = a * NORM
    cells = times(b, CELLS).reshape(-1, SIDE, SIDE)
    cropped = (warps[:, 0] != 1) | (warps[:, 2] != 1)
    for least in (*PROMISING[1:], np.inf):
        seen, shown = _seen(waves[left], warps[left])
        good, odds = _compare(seen, cells[left], shown, a[left], b[left], warps[left], dataset)
        good &= odds >= dataset.evidence + CHOICES * cropped[left]
        matched[left[good]] = True
        left = left[~good & croppable[left] & (odds >= least * dataset.evidence)]
        if not len(left):
            break
        warps[left] = _improved(waves[left], cells[left], warps[left])
        cropped[left] = True
    return matched


def _seen(waves: np.ndarray, warps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images as others would show them: (P, SIDE, SIDE); and which of the cells lie in the image, as 0 and 1."""
    (across, _, columns), (down, _, rows) = (_along(*warps[:, i : i + 2].T) for i in (0, 2))
    return down.transpose(0, 2, 1) @ (waves @ across), (rows[:, :, None] & columns[:, None, :]).astype(np.float32)


def _slopes(waves: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """(P, 4, SIDE, SIDE) the change of `_seen` with each number of the warp."""
    (across, more_across, _), (down, more_down, _) = (_along(*warps[:, i : i + 2].T) for i in (0, 2))
    along_x = down.transpose(0, 2, 1) @ (waves @ more_across)
    along_y = more_down.transpose(0, 2, 1) @ (waves @ across)
    return np.stack([along_x * MIDDLES, along_x, along_y * MIDDLES[:, None], along_y], axis=1)


def _along(scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, CUTOFF, SIDE) each cosine in each cell, and its slope there; (P, SIDE) whether the cell lies in the image."""
    places = scale[:, None] * MIDDLES + shift[:, None] + np.float32(0.5)
    angles = WAVES[:, None] * places[:, None, :]
    inside = (places > 0) & (places < 1)
    return np.cos(angles), -np.sin(angles) * WAVES[:, None], inside


def _standardised(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Of mean 0 and length 1 where shown, and 0 elsewhere."""
    count = shown.sum(axis=(1, 2), keepdims=True)
    values = (values - (values * shown).sum(axis=(1, 2), keepdims=True) / count) * shown
    return values / np.maximum(np.sqrt(np.square(values).sum(axis=(1, 2), keepdims=True)), 1e-6)


def _compare(
    seen: np.ndarray,
    cells: np.ndarray,
    shown: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    warps: np.ndarray,
    dataset: _Dataset,
) -> tuple[np.ndarray, np.ndarray]:
    """(P,) whether images are alike, and the decimal digits of the odds against that."""
    plain = _correlation(*(_standardised(values, shown).reshape(len(b), -1) for values in (seen, cells)))
    # A crop holds frequencies that the hash of the whole has not: they are left out.
    known = CUTOFF * np.minimum(warps[:, [0, 2]], 1).min(axis=1)[:, None] > FREQUENCY
    x, y = (times(_standardised(values, shown).reshape(len(b), -1), WEIGHTED) * known for values in (seen, cells))
    weighted = _correlation(x, y)
    apart = _correlation(*(_unit(values) - dataset.common * known for values in (x, y)))
    signals = np.minimum(*(np.count_nonzero((np.abs(values) > SIGNAL) & known, axis=1) for values in (a, b)))
    odds = _odds(apart, signals, dataset)
    inner = (values[:, MIDDLE, MIDDLE].reshape(len(b), -1) for values in (seen, cells))
    inside = _correlation(*(values - values.mean(axis=1, keepdims=True) for values in inner))
    return (plain >= ALIKE) & (weighted >= ALIKE_WEIGHTED) & (inside >= ALIKE_INSIDE), odds


def _odds(apart: np.ndarray, signals: np.ndarray, dataset: _Dataset) -> np.ndarray:
    """(P,) the decimal digits of the odds against such correlations of what sets images apart from the others."""
    digits = -np.log10(np.maximum(1 - np.square(np.maximum(apart, 0)), 1e-6))
    return digits * np.minimum(signals, dataset.dimensions) / 2


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosines of the angles between vectors, row by row."""
    return np.einsum("ij,ij->i", _unit(x), _unit(y))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _improved(waves: np.ndarray, cells: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """One Gauss-Newton step: warps under which images are more like `cells`, up to brightness and contrast."""
    (seen, shown), slopes = _seen(waves, warps), _slopes(waves, warps)
    inside = shown[:, None]
    count = shown.sum(axis=(1, 2))[:, None, None, None]
    slopes = ((slopes - (slopes * inside).sum(axis=(2, 3), keepdims=True) / count) * inside).reshape(len(seen), 4, -1)
    x = ((seen - (seen * shown).sum(axis=(1, 2), keepdims=True) / count[..., 0]) * shown).reshape(len(seen), -1)
    y = _standardised(cells, shown).reshape(len(seen), -1)
    rest = np.einsum("ij,ij->i", x, y)[:, None] * y - x
    normal = slopes @ slopes.transpose(0, 2, 1)
    damping = 1e-3 / 4 * np.trace(normal, axis1=1, axis2=2) + 1e-6
    normal += damping[:, None, None] * np.eye(4, dtype=np.float32)
    step = np.linalg.solve(normal, slopes @ rest[:, :, None])[..., 0].clip(-LARGEST_STEP, LARGEST_STEP)
    warps = warps + step
    warps[:, [0, 2]] = warps[:, [0, 2]].clip(LARGEST_CROP, 1 / LARGEST_CROP)
    warps[:, [1, 3]] = warps[:, [1, 3]].clip(-LARGEST_SHIFT, LARGEST_SHIFT)
    return warps
