"""Which column of a table is what, and so what a model is to predict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from formwork.datasets.tables.find import leave_out
from formwork.datasets.tables.names import COUNTERS, KEYS, ROLES, plain
from formwork.datasets.tables.table import Table, as_numbers, is_list
from formwork.errors import DatasetError, did_you_mean
from formwork.escapes import printable
from formwork.images.row import Task

FEW = 20  # rows: of so few, each may have a class of its own


@dataclass(frozen=True)
class Roles:
    """Names of a table's columns by what they say.

    Attributes:
        key: names the image of a row.
        roles: by key of names.ROLES, those that the table has; a label that params.yaml names has no labels beside it.
        chosen: the columns of targets, where params.yaml names them.
        others: all other columns.
        notes: what was taken for what, where the names are not the usual ones.
    """

    key: str
    roles: dict[str, str]
    chosen: list[str]
    others: list[str]
    notes: list[str]


def find_roles(table: Table, dataset: str, named: Mapping[str, str | list[str]], group: str | None = None) -> Roles:
    """
    Args:
        dataset: its name in params.yaml.
        named: columns by role, as datasets.<name>.columns in params.yaml has them; these count first.
        group: column of the groups by data.split.group; a table need not have it.

    Raises:
        DatasetError: no column names the images, or one that params.yaml names is not there.
    """
    by_plain = {plain(name): name for name in reversed(table.columns)}
    found: dict[str, str] = {}
    chosen: list[str] = []
    for role, names in named.items():
        if role != "targets" and not isinstance(names, str):
            raise DatasetError(f"datasets.{dataset}.columns.{role} in params.yaml is a list: name one column.")
        for name in [names] if isinstance(names, str) else names:
            if plain(name) not in by_plain:
                near = did_you_mean(name, table.columns)
                raise DatasetError(
                    f"datasets.{dataset}.columns.{role} in params.yaml is {name!r}, and {table.place} has no such "
                    f"column. {near}"
                )
            if role == "targets":
                chosen.append(by_plain[plain(name)])
            else:
                found[role] = by_plain[plain(name)]
    if group is not None and "group" not in found and plain(group) in by_plain:
        found["group"] = by_plain[plain(group)]
    taken = {*found.values(), *chosen}
    for role, usual in {"path": KEYS, **ROLES}.items():
        known = [by_plain[name] for name in usual if name in by_plain and by_plain[name] not in taken]
        if role not in found and known:
            found[role] = known[0]
            taken.add(known[0])
    if "path" not in found:
        listed = ", ".join(map(printable, table.columns))
        raise DatasetError(
            f"{table.place} has no column `path`, or `file_name`, that names the image of each row; it has {listed}. "
            f"Name it so in the first line, or name the column in params.yaml: `columns: {{path: ...}}` in "
            f"datasets.{dataset}. If this is no table of labels: {leave_out(table.file.path)}."
        )
    notes = [
        f"{table.place}: the column {printable(name)} is taken for the {role}."
        for role, name in found.items()
        if role not in named and plain(name) not in (role, "file_name", group and plain(group))
    ]
    for role, other in (("label", "labels"), ("labels", "label")):
        if role in named and other not in named:
            found.pop(other, None)
    key = found.pop("path")
    others = [name for name in table.columns if name not in {key, *found.values(), *chosen}]
    return Roles(key, found, chosen, others, notes)


@dataclass(frozen=True)
class Source:
    """What is to be predicted, and the columns that say it; none where folders are classes."""

    task: Task
    columns: tuple[str, ...]
    one_hot: bool = False


def find_source(table: Table, roles: Roles, dataset: str, task: str, folders_are_classes: Callable[[], bool]) -> Source:
    """What a model is to predict, by params.yaml (`task`), or else by what the table plainly says.

    Raises:
        DatasetError: that is not plain, or the table lacks what the task needs; with what to type.
    """
    label, labels = roles.roles.get("label"), roles.roles.get("labels")
    numbers = roles.chosen or _numeric(table, roles.others)
    if task == "regression":
        if not roles.chosen and label and _numeric(table, [label]):
            numbers = [label]
        if not numbers:
            raise DatasetError(f"{table.place} has no column of numbers to predict. {_name_it(dataset, 'targets')}")
        return Source("regression", tuple(numbers))
    flags = [] if roles.chosen and task == "auto" else _flags(table, numbers)
    if task == "multilabel":
        if labels or label:
            return Source("multilabel", (labels or label or "",))
        if flags:
            return Source("multilabel", tuple(flags), one_hot=True)
        raise DatasetError(f"{table.place} has no column `labels`. {_name_it(dataset, 'labels')}")
    if task == "classes":
        if label or labels:
            return Source("classes", (label or labels or "",))
        if len(flags) > 1 and _one_each(table, flags):
            return Source("classes", tuple(flags), one_hot=True)
        if not folders_are_classes():
            raise DatasetError(f"{table.place} has no column `label`. {_name_it(dataset, 'label')}")
        return Source("classes", ())
    return _plain_source(table, roles, dataset, numbers, flags, folders_are_classes)


def _plain_source(
    table: Table,
    roles: Roles,
    dataset: str,
    numbers: Sequence[str],
    flags: Sequence[str],
    folders_are_classes: Callable[[], bool],
) -> Source:
    """What the table says where params.yaml does not."""
    label, labels = roles.roles.get("label"), roles.roles.get("labels")
    if roles.chosen:
        return Source("regression", tuple(numbers))
    if label and labels:
        raise DatasetError(
            f"{table.place} has both {printable(label)} and {printable(labels)}. Say which one counts: "
            f"{set_task(dataset, 'classes')} or {set_task(dataset, 'multilabel')}."
        )
    if labels or (label and is_list(table.columns[label])):
        return Source("multilabel", (labels or label or "",))
    if label:
        if _has_fractions(table, label):
            return Source("regression", (label,))
        if _are_many(table, label):
            raise DatasetError(
                f"{table.place}: {printable(label)} has so many different numbers that it is not plain whether they "
                f"are classes. Say so: {set_task(dataset, 'classes')} or {set_task(dataset, 'regression')}."
            )
        return Source("classes", (label,))
    if folders_are_classes():
        if numbers:
            listed = ", ".join(map(printable, numbers))
            raise DatasetError(
                f"{table.place} has numbers ({listed}), and the folders are classes. Say what to predict: "
                f"{set_task(dataset, 'classes')} (the folders) or {set_task(dataset, 'regression')} (the numbers)."
            )
        return Source("classes", ())
    if len(flags) > 1:
        return Source("classes" if _one_each(table, flags) else "multilabel", tuple(flags), one_hot=True)
    if flags:
        raise DatasetError(
            f"{table.place}: all values of {printable(flags[0])} are 0 or 1. Say whether these are classes: "
            f"{set_columns(dataset, f'label: {flags[0]}')}; or numbers: {set_task(dataset, 'regression')}."
        )
    if numbers:
        return Source("regression", tuple(numbers))
    listed = f" Its other columns: {', '.join(map(printable, roles.others))}." if roles.others else ""
    raise DatasetError(
        f"{table.place} has no column `label`, `labels` or of numbers, and the folders are no classes.{listed} "
        f"{_name_it(dataset, 'label')}"
    )


def _name_it(dataset: str, role: str) -> str:
    return f"Name one so in the first line, or say which it is: {set_columns(dataset, f'{role}: ...')}."


def set_task(dataset: str, task: str) -> str:
    return f"`task: {task}` in datasets.{printable(dataset)} of params.yaml"


def set_columns(dataset: str, entry: str) -> str:
    return f"`columns: {{{printable(entry)}}}` in datasets.{printable(dataset)} of params.yaml"


def _numeric(table: Table, names: Sequence[str]) -> list[str]:
    """The columns that hold numbers and nothing else, but for gaps and those that number the rows."""
    return [name for name in names if plain(name) not in COUNTERS and _is_numeric(table, name)]


def _is_numeric(table: Table, name: str) -> bool:
    column = table.columns[name]
    if is_list(column) or pa.types.is_null(column.type) or pa.types.is_temporal(column.type):
        return False
    numbers, other = as_numbers(column, table.decimal_comma)
    return not other.any() and not bool(np.isnan(numbers).all())


def _flags(table: Table, names: Sequence[str]) -> list[str]:
    """The columns, where all of them hold zeros and ones alone."""
    for name in names:
        numbers, _ = as_numbers(table.columns[name], table.decimal_comma)
        if not np.isin(numbers, (0, 1)).all():
            return []
    return list(names)


def _one_each(table: Table, names: Sequence[str]) -> bool:
    """Whether each row has a one in exactly one of the columns."""
    return bool(np.all(sum(as_numbers(table.columns[name])[0] for name in names) == 1))


def _are_many(table: Table, label: str) -> bool:
    """Whether a column is of numbers of which most images have their own."""
    if len(table) < FEW or not _is_numeric(table, label):
        return False
    numbers, _ = as_numbers(table.columns[label], table.decimal_comma)
    return 2 * len(np.unique(numbers)) > len(table)


def _has_fractions(table: Table, name: str) -> bool:
    """Whether a column is of numbers, and some are not whole."""
    if not _is_numeric(table, name):
        return False
    numbers, _ = as_numbers(table.columns[name], table.decimal_comma)
    known = numbers[np.isfinite(numbers)]
    return bool(np.any(np.floor(known) != known))
