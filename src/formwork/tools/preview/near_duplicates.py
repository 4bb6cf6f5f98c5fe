"""A picture of near duplicates: pairs of images that link found to look alike, side by side."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from formwork.drawing.image_grid import COLUMNS, Row, image_rows
from formwork.images.containers import image_source
from formwork.images.pixels import read_rgb
from formwork.text import count

FOUND = "near "  # what kinds of findings begin with, see formwork.datasets.findings.NEAR_DUPLICATES
SIDE = 144  # height of an image, in pixels
GAP = 2  # between the images of a pair
PAIRS = COLUMNS // 2  # in a row
ROWS = 4  # of each kind


def draw_near_duplicates(findings: Path, raw: Path, path: Path) -> str | None:
    """Write a PNG of the first pairs of each kind; none where there are none, and one of an earlier run is removed.

    Args:
        findings: CSV that link wrote. raw: data/raw/<name>.

    Returns:
        A line on the picture.
    """
    rows, drawn, total = [], 0, 0
    for kind, found in sorted(_by_kind(findings).items(), reverse=True):  # leakage first
        pairs = [pair for finding in found[: ROWS * PAIRS] if (pair := _pair(raw, finding)) is not None]
        total += len(found)
        drawn += len(pairs)
        for start in range(0, len(pairs), PAIRS):
            images, captions = zip(*pairs[start : start + PAIRS], strict=True)
            shown = "" if len(found) == len(pairs) else f", {len(pairs)} of them here"
            rows.append(Row(f"{kind}: {count(len(found), 'image')}{shown}" if not start else "", images, captions))
    if not drawn:
        path.unlink(missing_ok=True)
        return None
    image_rows(path, f"{raw.name}: images that look like others", rows)
    return f"{drawn:,} of {count(total, 'image')} that look like others, beside these: {path}"


def _by_kind(findings: Path) -> Mapping[str, list[dict[str, str]]]:
    by_kind: dict[str, list[dict[str, str]]] = defaultdict(list)
    if findings.exists():
        with findings.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            for finding in csv.DictReader(file):
                if (finding["kind"] or "").startswith(FOUND):
                    by_kind[finding["kind"]].append(finding)
    return by_kind


def _pair(raw: Path, finding: Mapping[str, str]) -> tuple[np.ndarray, str] | None:
    """Both images in one, and the names of both; None where one cannot be read: the dataset may be another by now."""
    try:
        images = [_fitted(read_rgb(image_source(raw, finding[name]))) for name in ("path", "duplicate_of")]
    except OSError:
        return None
    white = np.full((SIDE, GAP, 3), 255, np.uint8)
    return np.concatenate([images[0], white, images[1]], axis=1), "\n".join(_lines(finding))


def _lines(finding: Mapping[str, str]) -> Iterator[str]:
    yield f"{finding['split']}: {finding['path']}"
    yield f"looks like {finding['duplicate_of']}"


def _fitted(image: Image.Image) -> np.ndarray:
    """(SIDE, W, 3) uint8, of the same shape as the image, up to twice as wide as high."""
    width = min(max(round(image.width * SIDE / image.height), SIDE // 2), 2 * SIDE)
    resampling = Image.Resampling.BOX if image.height < SIDE else Image.Resampling.BILINEAR
    return np.asarray(image.resize((width, SIDE), resampling))
