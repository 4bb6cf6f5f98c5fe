"""The images of a state of a dataset, all splits together, as columns; and two such states in common codes.

Paths, contents and targets of a million images are compared as numbers: equal values of either state have equal codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.images.manifest import SPLITS, Manifest, Texts, binary
from formwork.images.row import SEPARATOR, Task

NO_CLASSES = pa.array([], pa.string())


@dataclass(frozen=True)
class Images:
    """N images, in the order of the splits, and of the paths in each.

    Attributes:
        splits: names of those that there are, in the order of SPLITS.
        paths: binary, as the file system has them.
        contents: fixed_sizebinary(32), the SHA-256 of each file.
        targets: texts; where the task is multilabel, the labels joined by SEPARATOR; where it is regression,
            fixed_sizebinary(8 * K), K numbers of 64 bits.
        split: (N,) uint8, position in SPLITS.
    """

    task: Task
    splits: tuple[str, ...]
    target_names: tuple[str, ...]
    paths: pa.ChunkedArray
    contents: pa.ChunkedArray
    targets: pa.ChunkedArray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.split)

    def paths_of(self, rows: np.ndarray) -> list[str]:
        return list(Texts(self.paths.take(pa.array(rows))))

    def digests_of(self, rows: np.ndarray) -> list[bytes]:
        return self.contents.take(pa.array(rows)).to_pylist()

    def numbers_of(self, rows: np.ndarray) -> np.ndarray:
        """(R, K) float64, where the task is regression."""
        taken = self.targets.take(pa.array(rows)).combine_chunks()
        data = taken.buffers()[1] if len(taken) else b""
        return np.frombuffer(data, np.float64, len(taken) * len(self.target_names)).reshape(-1, len(self.target_names))

    def targets_of(self, rows: np.ndarray) -> list[str]:
        """As people read them: "cat", "car, person", "age=31, height=1.8"."""
        if self.task == "regression":
            values = self.numbers_of(rows).tolist()
            return [", ".join(f"{n}={v:.6g}" for n, v in zip(self.target_names, row, strict=True)) for row in values]
        texts = self.targets.take(pa.array(rows)).to_pylist()
        return [text.replace(SEPARATOR, ", ") for text in texts] if self.task == "multilabel" else texts

    def cells_of(self, rows: np.ndarray) -> list[list[str]]:
        """As they stand in the cells of a manifest: one, or one for each number."""
        if self.task == "regression":
            return [list(map(repr, row)) for row in self.numbers_of(rows).tolist()]
        return [[text] for text in self.targets.take(pa.array(rows)).to_pylist()]

    def splits_of(self, rows: np.ndarray) -> list[str]:
        return [SPLITS[number] for number in self.split[rows]]


def gather(manifests: Mapping[str, Manifest]) -> Images:
    """The images of the manifests of one dataset, by split."""
    present = {split: manifests[split] for split in SPLITS if split in manifests}
    first = next(iter(present.values()))
    counts = [len(manifest) for manifest in present.values()]
    numbers = np.array([SPLITS.index(split) for split in present], np.uint8)
    return Images(
        task=first.task,
        splits=tuple(present),
        target_names=first.columns.target_names,
        paths=_join([manifest.table.column("path") for manifest in present.values()]),
        contents=_join([binary(manifest.sha256) for manifest in present.values()]),
        targets=_join([_targets(manifest) for manifest in present.values()]),
        split=np.repeat(numbers, counts),
    )


def _targets(manifest: Manifest) -> pa.ChunkedArray:
    if manifest.task == "regression":
        return binary(manifest.targets + 0.0)  # -0.0 is 0.0
    return manifest.table.column("labels" if manifest.task == "multilabel" else "class_name").cast(pa.string())


def _join(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], columns[0].type)


@dataclass(frozen=True)
class Coded:
    """One state in codes that it has in common with the other: (N,) int32 each, and `split` as uint8."""

    path: np.ndarray
    content: np.ndarray
    target: np.ndarray
    split: np.ndarray


@dataclass(frozen=True)
class Classes:
    """The labels that targets are made of, T targets and L labels.

    Attributes:
        names: of the L labels, sorted; none where targets are numbers.
        label: (M,) int32, the labels of all targets, one target after the other.
        start: (T + 1,) int64: the labels of target t are label[start[t] : start[t + 1]].
    """

    names: tuple[str, ...]
    label: np.ndarray
    start: np.ndarray

    def count(self, targets: np.ndarray) -> np.ndarray:
        """(L,) int64: images of each label, from the target code of each image."""
        by_target = np.bincount(targets, minlength=len(self.start) - 1)
        return np.bincount(self.label, np.repeat(by_target, np.diff(self.start)), len(self.names)).astype(np.int64)

    def count_gained(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """(L,) int64: images that have each label after, and had not before, from their target codes (P,)."""
        gained = np.setdiff1d(self._memberships(after), self._memberships(before), assume_unique=True)
        return np.bincount(gained % max(len(self.names), 1), minlength=len(self.names))

    def any_of(self, targets: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(P,) bool: images that have any of the labels chosen (L,), from the target code of each image."""
        hits = np.concatenate([[0], np.cumsum(chosen[self.label])])
        return (hits[self.start[1:]] > hits[self.start[:-1]])[targets]

    def _memberships(self, targets: np.ndarray) -> np.ndarray:
        """image * L + label, for each label of each image."""
        counts = self.start[targets + 1] - self.start[targets]
        image = np.repeat(np.arange(len(targets)), counts)
        within = np.arange(len(image)) - np.repeat(np.cumsum(counts) - counts, counts)
        return image * len(self.names) + self.label[self.start[targets][image] + within]


def encode(before: Images, after: Images) -> tuple[Coded, Coded, Classes]:
    """Both states in common codes, and the labels that the codes of targets stand for."""
    paths = _codes(before.paths, after.paths)[0]
    contents = _codes(before.contents, after.contents)[0]
    if before.targets.type == after.targets.type:
        targets, values = _codes(before.targets, after.targets)
        classes = _classes(values, before.task, after.task)
    else:  # classes and numbers, or other numbers: none is equal to any
        (first, _), values = _codes(before.targets, before.targets.slice(0, 0))
        (second, _), more = _codes(after.targets, after.targets.slice(0, 0))
        targets = first, second + np.int32(len(values))
        classes = Classes((), np.empty(0, np.int32), np.zeros(len(values) + len(more) + 1, np.int64))
    sides = zip(paths, contents, targets, (before.split, after.split), strict=True)
    first_side, second_side = (Coded(*columns) for columns in sides)
    return first_side, second_side, classes


def _codes(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[tuple[np.ndarray, np.ndarray], pa.Array]:
    """A code for each value of two columns, and the values by code."""
    encoded = _join([a, b]).dictionary_encode().unify_dictionaries()
    if not encoded.num_chunks:
        return (np.empty(0, np.int32), np.empty(0, np.int32)), pa.array([], a.type)
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
    return (codes[: len(a)], codes[len(a) :]), encoded.chunk(0).dictionary


def _classes(values: pa.Array, *tasks: Task) -> Classes:
    if "regression" in tasks:
        return Classes((), np.empty(0, np.int32), np.zeros(len(values) + 1, np.int64))
    if "multilabel" in tasks:
        lists = pc.split_pattern(values, SEPARATOR)
        labels = lists.flatten()
        counts = pc.list_value_length(lists).to_numpy()
        empty = pc.equal(values, "").to_numpy(zero_copy_only=False)  # an image without labels
        labels = labels.filter(pa.array(~np.repeat(empty, counts)))
        counts = np.where(empty, 0, counts)
    else:
        labels, counts = values, np.ones(len(values), np.int64)
    names = sorted(pc.unique(labels).to_pylist())
    label = pc.index_in(labels, pa.array(names, pa.string())).to_numpy()
    return Classes(tuple(names), label, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
