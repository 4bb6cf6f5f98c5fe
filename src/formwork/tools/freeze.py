"""The splits of today as a file for git, which decides from then on."""

from pathlib import Path

from formwork.datasets.split_file import HEADER
from formwork.errors import FormworkError
from formwork.escapes import shell_word
from formwork.folders import Folders
from formwork.formats import write_csv
from formwork.images.manifest import SPLITS, read_manifest, sorted_paths
from formwork.text import count


def freeze(folders: Folders, path: Path, replace: bool = False) -> str:
    """Write the split file of a dataset from its manifests; the same manifests give the same bytes.

    Returns:
        What was written, and what to type now.

    Raises:
        FormworkError: the file exists, and `replace` is false; or manifests are missing.
    """
    if path.exists() and not replace:
        raise FormworkError(
            f"{path} is there already, and says the splits. To add the images that are not in it, and remove those "
            "that are gone: `dvc repro link`, then `make split ARGS=--force`."
        )
    rows: dict[str, tuple[str, str]] = {}
    numbers = []
    for split in SPLITS:
        manifest = read_manifest(folders.manifest(split))
        digests = (bytes(digest).hex() for digest in manifest.sha256)
        rows |= {name: (split, digest) for name, digest in zip(manifest.paths, digests, strict=True)}
        if len(manifest):
            numbers.append(f"{len(manifest):,} {split}")
    write_csv(path, [HEADER, *((name, *rows[name]) for name in sorted_paths(rows))])
    return (
        f"{path}: {count(len(rows), 'image')} ({', '.join(numbers)}). It decides from now on, and data.split only for "
        f"images that it does not name. Keep it in git:\n\n\tgit add {shell_word(path)}\n"
    )
