"""The split of each image: what the dataset says itself, and `data.split` for all others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from formwork.datasets.candidates import Candidates
from formwork.datasets.split_file import read_split_file, splits_of
from formwork.datasets.splits import FREE, TEST, TRAIN, VAL, share_out
from formwork.datasets.verify import Verification
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.manifest import SPLITS, TRAINING, path_bytes
from formwork.params.sections import Split
from formwork.text import count


@dataclass(frozen=True)
class Shared:
    """How the images of a dataset were shared out.

    Attributes:
        splits: (N,) of each candidate, positions in SPLITS; FREE of files that are no sound images, for the most part.
        split: the section of params.yaml as it holds here: without a share for the test, where the dataset has splits
            of its own.
        decides: whether it decided for any image.
        notes: on how that came about, for people.
        groups: (N,) text of each candidate, "" for none: those of the table, or that data.split.group finds in paths.
    """

    splits: np.ndarray
    split: Split
    decides: bool
    notes: list[str]
    groups: pa.Array | None


def share_candidates(
    raw: Path,
    candidates: Candidates,
    verified: Verification,
    split: Split,
    split_file: Path | None = None,
    alike: np.ndarray | None = None,
) -> Shared:
    """Find a split for each sound image.

    Args:
        split_file: data/splits/<name>.csv, which need not be there.
        alike: (N,) integers; images with the same number, other than FREE, stay together.

    Raises:
        DatasetError: the split file is none, or data.split.group fits no image.
    """
    sound = np.flatnonzero(verified.good)
    paths = [candidates.paths[position] for position in sound.tolist()]
    fixed, official, notes = _official(candidates.splits, split)
    fixed = fixed.copy()
    if split_file and (frozen := read_split_file(split_file)):
        found, more = splits_of(frozen, raw, paths, verified.sha256[sound])
        fixed[sound] = np.where(found == FREE, fixed[sound], found)
        notes += [*_frozen(split_file, paths, found, fixed[sound], split), *more]
    given = fixed[sound]
    if official or FREE not in given or (split.folds is not None and not (given == FREE).all()):
        # To the test split that a dataset has, or has not, none of its other images is added.
        split = split.model_copy(update={"test": 0.0})
    groups: Sequence[str] | None = None
    if candidates.groups is not None:  # the table's, whatever data.split.by is: they must not straddle
        groups = candidates.groups.take(pa.array(sound)).to_pylist()
        if split.by == "group":
            notes.append("Groups are those of the table of labels.")
    elif split.by == "group" and len(sound) and (split.folds is not None or FREE in given):
        groups, more = find_groups(raw, paths, split)
        notes += more
    elif split.group is not None and split.by != "group":
        notes.append(f"data.split.group does not count, as data.split.by is {split.by}: `-S data.split.by=group`.")
    stratify = split.stratify and candidates.columns.task == "classes"
    splits = fixed.copy()
    splits[sound] = share_out(
        verified.sha256[sound],
        paths,
        split,
        classes=candidates.classes[sound] if stratify else None,
        groups=groups,
        together=[] if alike is None else [alike[sound]],
        fixed=given,
    )
    notes += _straddling(groups, splits[sound]) if groups is not None else []
    of_all = candidates.groups
    if of_all is None and groups is not None:
        names = np.full(len(candidates), "", object)
        names[sound] = [path_bytes(name).decode("utf-8", "backslashreplace") for name in groups]
        of_all = pa.array(names, pa.string())
    return Shared(splits, split, FREE in given or (split.folds is not None and len(sound) > 0), notes, of_all)


def check_filled(raw: Path, positions: Mapping[str, np.ndarray], shared: Shared) -> None:
    """Raises DatasetError: a split that there should be has no images.

    Args:
        positions: by split, those of the candidates that are in it.
    """
    split = shared.split
    name = next((name for name in (SPLITS if split.test else TRAINING) if not len(positions[name])), None)
    if name is None:
        return
    if not shared.decides:
        advice = f"The dataset itself, or its split file, says the splits: add images to {name} there."
    elif split.folds is not None and name != "test":
        advice = "Add images, or lower data.split.folds"
    elif name == "train":
        advice = "Add images, or lower data.split.val and data.split.test"
    else:
        advice = f"Add images, or raise data.split.{name}"
    if shared.decides:
        advice += "; groups stay together, so check that data.split.group finds several" if split.by == "group" else ""
        advice += "; `-S data.split.stratify=false` shares out all classes together." if split.stratify else "."
        advice += " `-S data.split.test=0`: no test split." if name == "test" else ""
    total = count(sum(map(len, positions.values())), "image")
    raise DatasetError(f"No images in the {name} split of {raw}, which has {total}. {advice}")


def _straddling(groups: Sequence[str], splits: np.ndarray) -> list[str]:
    """A warning where the dataset, or a file, itself has images of one group in several splits."""
    known = pa.array([path_bytes(name) or None for name in groups], pa.binary()).dictionary_encode()
    codes = known.indices.fill_null(len(known.dictionary)).to_numpy(zero_copy_only=False)
    lowest, highest = np.full(len(known.dictionary) + 1, TEST), np.full(len(known.dictionary) + 1, TRAIN)
    np.minimum.at(lowest, codes, splits)
    np.maximum.at(highest, codes, splits)
    several = np.flatnonzero((lowest < highest)[:-1])
    if not len(several):
        return []
    name = printable(groups[int(np.flatnonzero(codes == several[0])[0])])
    have = "group has" if len(several) == 1 else "groups have"
    return [
        f"WARNING: {len(several):,} {have} images in several splits, such as {name}: so the dataset itself, or its "
        "split file, says."
    ]


def _frozen(split_file: Path, paths: Sequence[str], found: np.ndarray, fixed: np.ndarray, split: Split) -> list[str]:
    """Notes on what a split file decides, and what it leaves to data.split.

    Args:
        found: the splits by the file alone. fixed: with those that the dataset itself says of other images.
    """
    notes = [f"{split_file} says the split of {count(int((found != FREE).sum()), 'image')}."]
    if split.folds is not None:
        return [*notes, f"data.split.folds is {split.folds}: its test counts, and the rest is shared out anew."]
    new = np.flatnonzero(fixed == FREE)
    if not len(new):
        return notes
    more = ", ..." if len(new) > 1 else ""
    are = "is" if len(new) == 1 else "are"
    return [
        *notes,
        f"{count(len(new), 'image')} {are} not in {split_file} ({printable(paths[new[0]])}{more}): data.split decides. "
        "`make split ARGS=--force` adds what is not in it, and keeps the rest.",
    ]


def _official(splits: np.ndarray, split: Split) -> tuple[np.ndarray, bool, list[str]]:
    """The splits that stay as the dataset has them, FREE for all other images; whether it has any; and notes."""
    has = set(np.unique(splits).tolist()) - {FREE}
    if split.folds is not None and VAL in has:
        return splits, True, [f"data.split.folds is {split.folds}: images of train and val are shared out anew."]
    if TEST not in has or VAL in has:
        return splits, bool(has), []
    if split.official_test == "val":
        return np.where(splits == TEST, np.int8(VAL), splits), True, ["The test split of the dataset is used as val."]
    taken = f"fold {split.fold} of {split.folds}" if split.folds else f"a share of {split.val:g}"
    note = f"The dataset has a test split and none for validation: {taken} is taken out of train."
    return np.where(splits == TRAIN, np.int8(FREE), splits), True, [note]


def find_groups(raw: Path, paths: Sequence[str], split: Split) -> tuple[list[str], list[str]]:
    """The group of each image by the regular expression data.split.group, "" where it fits none, and notes.

    Raises:
        DatasetError: it fits no path at all.
    """
    assert split.group is not None  # params say so
    pattern = re.compile(split.group)
    found = map(pattern.search, paths)
    groups = [(match[1] if pattern.groups else match[0]) or "" if match else "" for match in found]
    without = [path for path, group in zip(paths, groups, strict=True) if not group]
    if len(without) == len(paths):
        raise DatasetError(
            f"data.split.group in params.yaml is {split.group!r}, which is no column of a table of labels in {raw}, "
            f"and as a regular expression finds nothing in any path, such as {printable(paths[0])}."
        )
    if not without:
        return groups, []
    more = ", ..." if len(without) > 1 else ""
    return groups, [
        f"{count(len(without), 'image')} in no group ({printable(without[0])}{more}), where data.split.group finds "
        "nothing in the path: each is a group of its own."
    ]
