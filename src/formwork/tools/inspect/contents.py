"""Which images the samples of a beton are, and of which classes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.faults import is_part
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.manifest import Manifest, read_manifest
from formwork.text import count

NONE = -1


@dataclass(frozen=True)
class Contents:
    """What is known of the N samples of a beton.

    Attributes:
        manifest: that lists them; None where it is not known.
        rows: (N,) int64, the row of the manifest that each sample is, of several the first; NONE of an image that is no
            more, and of all where the manifest is not known.
        labels: (N,) int64, by which samples are shown together; NONE of an image that is no more.
        names: what to call each label, safe to print; None where nothing says what labels mean.
    """

    manifest: Manifest | None
    rows: np.ndarray
    labels: np.ndarray
    names: dict[int, str] | None

    def __str__(self) -> str:
        images = count(int(np.count_nonzero(self.labels != NONE)), "image")
        return images if self.names is None else f"{images} of {count(len(self.names), 'class', 'classes')}"

    def name(self, sample: int) -> str | None:
        """The class of a sample, if it is known."""
        return self.names.get(int(self.labels[sample])) if self.names else None

    def source(self, sample: int) -> str | None:
        """The file of a sample, safe to print: its path in the raw dataset, where the manifest does not stand in
        data/interim; None where it is not known."""
        if self.manifest is None or self.rows[sample] == NONE:
            return None
        path = Path(self.manifest.paths[int(self.rows[sample])])
        folder = self.manifest.path.absolute().parent
        if folder.parent.name == "interim":
            path = folder.parent.parent / "raw" / folder.name / path
            path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return printable(path)


def contents_of(beton: Beton, manifest: Manifest | None) -> Contents:
    """What a manifest, if it is known, and the beton itself say of its samples."""
    rows = np.full(len(beton), NONE, np.int64) if manifest is None else _rows(beton, manifest)
    if manifest is None:
        known = beton.provenance.facts.get("class_names") if beton.provenance else None
        if beton.provenance and not known:  # a part, or of a table of labels: a label is a position, and no class
            return Contents(None, rows, np.zeros(len(beton), np.int64), None)
        labels = np.unique(beton.labels).tolist()
        names = {label: printable((known or {}).get(str(label), f"label {label}")) for label in labels}
        return Contents(None, rows, beton.labels, names)
    if manifest.task != "classes":
        return Contents(manifest, rows, np.where(rows == NONE, NONE, 0), None)
    classes, first = np.unique(manifest.labels, return_index=True)
    texts = manifest.texts("class_name")
    names = {int(label): printable(texts[int(row)]) for label, row in zip(classes, first, strict=True)}
    labels_of_samples = np.where(rows == NONE, NONE, manifest.labels[rows])
    present = set(np.unique(labels_of_samples).tolist())
    return Contents(manifest, rows, labels_of_samples, {label: names[label] for label in names if label in present})


def _rows(beton: Beton, manifest: Manifest) -> np.ndarray:
    """(N,) int64, see Contents."""
    if not beton.in_parts:
        return np.arange(len(beton))
    samples = beton.samples_of(manifest.sha256)
    rows = np.full(len(beton), NONE, np.int64)
    found = np.flatnonzero(samples >= 0)[::-1]  # of rows with equal content, the first is written last
    rows[samples[found]] = found
    return rows


def find_manifest(beton: Beton, given: Path | None) -> Manifest | None:
    """The manifest that lists the images of a beton: the given one, or data/interim/<name>/<split>.csv of a beton that
    is data/processed/<name>/<split>.beton, or a part in it, where it is still the same.

    Raises:
        DatasetError: the given one cannot be read.
        BetonError: the beton was not made from the given one.
    """
    # Where it was named, not in the cache that it may be a link into.
    whole = beton.path.absolute().parent if is_part(beton.path.absolute()) else beton.path.absolute()
    if given:
        manifest = read_manifest(given)
        if whole == beton.path.absolute():
            beton.of_manifest(manifest)
        return manifest
    folder = whole.parent
    path = folder.parent.parent / "interim" / folder.name / f"{whole.stem}.csv"
    if beton.provenance is None or folder.parent.name != "processed" or not path.is_file():
        return None
    try:
        manifest = read_manifest(path)
    except DatasetError:  # of another version: names are missing in messages, and nothing else
        return None
    same = beton.in_parts or manifest.images_digest == beton.provenance.manifest_sha256
    return manifest if same else None
