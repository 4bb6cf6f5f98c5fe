"""Groups: named subsets of a dataset's classes, defined in params.yaml."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from formwork.datasets.candidates import Candidates
from formwork.errors import DatasetError

ALL = "all"
LISTED = 10  # names in an error message


def select_group(
    candidates: Candidates, dataset: str, group: str, groups: Mapping[str, Sequence[str | int]]
) -> Candidates:
    """The candidates whose class belongs to a group, in their order, of every split.

    Args:
        dataset: name of the dataset, for error messages.
        group: "all", or a key of `groups`.
        groups: the classes of each group, by name or by id, the position in the sorted list of all class names. Where
            classes are named by numbers, a number is a name.

    Raises:
        DatasetError: the group is unknown or empty, or names classes that the dataset does not have; near matches are
            listed.
    """
    if group == ALL:
        return candidates
    if group not in groups:
        raise DatasetError(
            f"data.group in params.yaml is {group!r}, which {_undefined(dataset, group, [ALL, *groups])}"
        )
    return candidates.of_classes(classes_of(group, dataset, groups, candidates.class_names))


def classes_of(group: str, dataset: str, groups: Mapping[str, Sequence[str | int]], names: Sequence[str]) -> set[str]:
    """The names of the classes of a group.

    Args:
        names: of all classes of the dataset, in order.

    Raises:
        DatasetError: as select_group.
    """
    if group not in groups:
        raise DatasetError(f"{group!r} is a group that {_undefined(dataset, group, groups)}")
    key = f"datasets.{dataset}.groups.{group}"
    chosen, faults = set(), []
    for entry in groups[group]:
        try:
            chosen.add(_class_name(entry, names))
        except LookupError as error:
            faults.append(f"  {error.args[0]}")
    if faults:
        raise DatasetError("\n".join([f"{key} in params.yaml names classes that {dataset} does not have:", *faults]))
    if not chosen:
        raise DatasetError(f"{key} in params.yaml is empty. List class names, or their ids, from 0.")
    return chosen


def _undefined(dataset: str, group: str, known: Iterable[str]) -> str:
    known = list(known)
    hint = _nearest(group, known) if known else "It defines none."
    return f"datasets.{dataset}.groups does not define. {hint}"


def _class_name(entry: str | int, names: Sequence[str]) -> str:
    """The class that an entry of a group means.

    A number is a name where classes are named by numbers, also with zeros before it, and an id where none is.

    Raises:
        LookupError: none, or more than one; with the reason.
    """
    text = str(entry)
    if text in names:
        return text
    same = [name for name in names if _is_number(name) and _is_number(text) and int(name) == int(text)]
    if isinstance(entry, str):
        hint = f"Did you mean {' or '.join(map(repr, same))}?" if same else _nearest(entry, names)
        raise LookupError(f"{entry!r}: {hint}")
    if len(same) == 1:
        return same[0]
    if same:
        raise LookupError(f"{entry}: there are {' and '.join(map(repr, same))}. Write which one, in quotes.")
    numbers = [name for name in names if _is_number(name)]
    if numbers:
        raise LookupError(
            f"{entry}: no class is called so. Classes of this dataset are named by numbers, such as {numbers[0]!r}, so "
            "a number in a group is a name, and no id."
        )
    if not 0 <= entry < len(names):
        raise LookupError(f"{entry}: ids go from 0 to {len(names) - 1}.")
    return names[entry]


def _is_number(text: str) -> bool:
    """Whether a name is a whole number, as YAML reads it without quotes, "007" too."""
    return re.fullmatch(r"[+-]?[0-9]+", text) is not None


def _nearest(word: str, known: Sequence[str]) -> str:
    """A sentence that lists the known words most similar to `word`, or, where there are none, the first of all.

    The case of letters does not count.
    """
    lower = {name.lower(): name for name in known}
    near = [lower[match] for match in get_close_matches(word.lower(), lower, n=LISTED)]
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    more = f", ... ({len(known)} in all)" if len(known) > LISTED else ""
    return f"Known: {', '.join(sorted(known)[:LISTED])}{more}."
