"""Checking a beton for its user: which samples are bad, and what they were made from."""

from pathlib import Path

from formwork.beton.read import Beton, check_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, read_manifest
from formwork.tools.inspect.describe import class_names
from formwork.tools.inspect.verify import find_damage


def verify(beton: Beton, manifest: Manifest | None, workers: int) -> str:
    """Check every sample; print sample id, class and, where the manifest is known, source of each bad one.

    Returns:
        A line that says that all are whole.

    Raises:
        BetonError: any sample is bad.
    """
    damage = find_damage(beton, workers)
    names = class_names(beton)
    for sample, fault in damage.items():
        source = f", {_source(manifest, sample)}" if manifest else ""
        print(f"sample {sample} ({names[int(beton.labels[sample])]}{source}): {fault}")
    if damage:
        raise BetonError(
            f"{len(damage)} of {len(beton)} samples of {beton.path} are damaged. Run `dvc checkout --force "
            f"{beton.path}` or `dvc repro -f convert`."
        )
    found = "have the checksums they were written with, and decode" if beton.provenance else "decode without a warning"
    return f"All {len(beton)} samples of {beton.path} {found}."


def find_manifest(beton: Beton, given: Path | None) -> Manifest | None:
    """The manifest that a beton was made from: the given one, or data/interim/<name>/<split>.csv of a beton that is
    data/processed/<name>/<split>.beton, where it is still the same.

    Raises:
        DatasetError: the given one cannot be read.
        BetonError: the beton was not made from the given one.
    """
    if given:
        manifest = read_manifest(given)
        check_beton(beton, manifest)
        return manifest
    folder = beton.path.absolute().parent  # where it was named, not in the cache that it may be a link into
    path = folder.parent.parent / "interim" / folder.name / f"{beton.path.stem}.csv"
    if beton.provenance is None or folder.parent.name != "processed" or not path.is_file():
        return None
    same = Manifest(path, []).digest == beton.provenance.manifest_sha256
    return read_manifest(path) if same else None


def _source(manifest: Manifest, sample: int) -> Path:
    """The file of a sample; its path in the raw dataset where the manifest does not stand in data/interim."""
    path = Path(manifest.rows[sample].path)
    folder = manifest.path.absolute().parent
    if folder.parent.name != "interim":
        return path
    source = folder.parent.parent / "raw" / folder.name / path
    return source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source
