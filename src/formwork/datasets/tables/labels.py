"""What a table says of each image: its label, labels or targets, its split, group and weight."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from formwork.datasets.tables import values
from formwork.datasets.tables.columns import Roles, Source
from formwork.datasets.tables.rows import CONTRADICTION, NO_LABELS, TWICE, RowFinding, Rows
from formwork.datasets.tables.table import Table, as_numbers
from formwork.errors import DatasetError
from formwork.images.row import SEPARATOR, Task


@dataclass(frozen=True)
class Labels:
    """Arrays have an entry for each of the M images that the table lists, in the order of their files.

    Attributes:
        task: None where the table has no labels, and the folders are classes.
        names: of the classes, in order; [] unless the task is classes.
        files: (M,) int64, increasing: the position of each image among the files that rows were matched with.
        classes: (M,) int64 positions in `names`; None unless the task is classes.
        sets: (M,) int64 positions in `label_sets`; None unless the task is multilabel.
        label_sets: the different sets of labels.
        targets: (M, K) float64; None unless the task is regression.
        target_names: of the K targets.
        splits: (M,) int8 positions in SPLITS; None where the table says none.
        groups: (M,) text, "" for none; None where the table says none.
        weights: (M,) float64; None where the table says none.
        findings: what is wrong with rows.
        notes: for people, one line each.
    """

    task: Task | None
    names: list[str]
    files: np.ndarray
    classes: np.ndarray | None = None
    sets: np.ndarray | None = None
    label_sets: values.LabelSets = field(default_factory=list)
    targets: np.ndarray | None = None
    target_names: tuple[str, ...] = ()
    splits: np.ndarray | None = None
    groups: pa.Array | None = None
    weights: np.ndarray | None = None
    findings: list[RowFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def texts(self) -> tuple[list[str], np.ndarray]:
        """What images have as text, each different one once, and (M,) int64 positions in it."""
        if self.classes is not None:
            return self.names, self.classes
        if self.sets is not None:
            return [SEPARATOR.join(labels) for labels in self.label_sets], self.sets
        assert self.targets is not None  # there is no other task
        different, places = np.unique(self.targets, axis=0, return_inverse=True)
        return [", ".join(f"{value:g}" for value in row) for row in different.tolist()], places.reshape(-1)


def read_labels(rows: Rows, roles: Roles, source: Source) -> Labels:
    """
    Raises:
        DatasetError: labels are easily confused, no split is known, or all weights are 0; with file and line.
    """
    table = rows.table
    cells: dict[str, np.ndarray] = {}
    names: list[str] = []
    sets: values.LabelSets = []
    notes: list[str] = []
    if source.one_hot:
        names, cells, sets = _one_hot(table, source)
    elif source.task == "classes" and source.columns:
        names, cells["classes"] = values.classes(rows, source.columns[0])
    elif source.task == "multilabel":
        sets, cells["sets"], notes = values.label_sets(rows, source.columns[0])
    elif source.task == "regression":
        cells["targets"] = values.targets(rows, source.columns)
    if "split" in roles.roles and (splits := values.splits(rows, roles.roles["split"])) is not None:
        cells["splits"] = splits
    if "weight" in roles.roles:
        cells["weights"] = values.weights(rows, roles.roles["weight"])
    groups = values.groups(rows, roles.roles["group"]) if "group" in roles.roles else None
    if groups is not None:
        cells["group"] = groups.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    if source.task == "multilabel" and source.columns[0] == roles.roles.get("label"):
        _merge(rows, sets, cells["sets"])
    _check_twice(rows, cells)
    if "sets" in cells:
        for row in rows.usable(np.array([not labels for labels in sets], bool)[cells["sets"]]).tolist():
            rows.note(row, NO_LABELS, "it has no label")
    chosen = np.flatnonzero(~rows.bad)
    chosen = chosen[np.argsort(rows.files[chosen], kind="stable")]
    kept = {name: column[chosen] for name, column in cells.items() if name != "group"}
    if "classes" in kept:  # without those of rows that cannot be used
        used, kept["classes"] = np.unique(kept["classes"], return_inverse=True)
        names = [names[place] for place in used]
    elif "sets" in kept:
        used, kept["sets"] = np.unique(kept["sets"], return_inverse=True)
        sets = [sets[place] for place in used]
    if len(chosen) and "weights" in kept and not kept["weights"].any():
        raise DatasetError(f"{table.place}: all weights are 0. Give the images that count a weight above 0.")
    return Labels(
        task=source.task if source.columns else None,
        names=names,
        files=rows.files[chosen],
        label_sets=sets,
        target_names=tuple(" ".join(name.split()) for name in source.columns) if source.task == "regression" else (),
        groups=None if groups is None else groups.take(pa.array(chosen)),
        findings=rows.findings,
        notes=notes,
        **kept,
    )


def _one_hot(table: Table, source: Source) -> tuple[list[str], dict[str, np.ndarray], values.LabelSets]:
    """Labels whose columns hold ones and zeros."""
    names = values.in_order(source.columns)
    flags = np.stack([as_numbers(table.columns[name])[0] != 0 for name in names], axis=1)
    if source.task == "classes":
        return names, {"classes": flags.argmax(axis=1)}, []
    patterns, codes = np.unique(flags, axis=0, return_inverse=True)
    sets = [tuple(sorted(names[place] for place in np.flatnonzero(pattern))) for pattern in patterns]
    return [], {"sets": codes.reshape(-1)}, sets


def _repeated(rows: Rows) -> list[np.ndarray]:
    """The rows of each file that several rows name."""
    usable = np.flatnonzero(~rows.bad)
    usable = usable[np.argsort(rows.files[usable], kind="stable")]
    starts = np.flatnonzero(np.diff(rows.files[usable], prepend=-1))
    return [group for group in np.split(usable, starts[1:]) if len(group) > 1] if len(usable) > len(starts) else []


def _merge(rows: Rows, sets: values.LabelSets, codes: np.ndarray) -> None:
    """Where a table has a row for each label of an image, give the first of them all of its labels."""
    positions = {labels: place for place, labels in enumerate(sets)}
    for group in _repeated(rows):
        labels = tuple(sorted({name for row in group for name in sets[codes[row]]}))
        if labels not in positions:
            positions[labels] = len(sets)
            sets.append(labels)
        codes[group[0]] = positions[labels]
        rows.bad[group[1:]] = True


def _check_twice(rows: Rows, cells: dict[str, np.ndarray]) -> None:
    """Keep one row of those that say the same of a file, and none where they contradict each other."""
    for group in _repeated(rows):
        first, *more = group.tolist()
        differing = [name for name, column in cells.items() if np.any(column[more] != column[first])]
        for row in more:
            where = rows.table.at(first)
            if differing:
                rows.refuse(row, CONTRADICTION, f"another {' and '.join(map(_called, differing))} than in {where}")
            else:
                rows.note(row, TWICE, f"the same as in {where}")
                rows.bad[row] = True
        if differing:
            rows.refuse(first, CONTRADICTION, f"another row of the same file is in {rows.table.at(more[0])}")


def _called(name: str) -> str:
    return {"classes": "label", "sets": "set of labels"}.get(name, name.removesuffix("s"))
