"""The layout of a raw dataset: which of its folders are splits, and which are classes.

Whatever is not plainly a dataset of classes stops here, with what to type. `layout` in the dataset's entry in
params.yaml says it where names and content do not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from formwork.datasets import layout_errors as errors
from formwork.datasets.folder_names import RESERVED, SplitName, role, split_name
from formwork.datasets.listing import BESIDE, OTHER, RawFolder, name_of, parent_of
from formwork.images.manifest import SPLITS


@dataclass(frozen=True)
class Layout:
    """Attributes:
    classes: by split, the folders of the classes; under None where the dataset has no splits of its own.
    notes: what was taken for what, for people, where names do not say it.
    """

    classes: dict[str | None, list[str]]
    notes: list[str]


def find_layout(folder: RawFolder, layout: str) -> Layout:
    """The class folders of a dataset. What lies beside them is left out.

    Args:
        layout: "classes": the top folders are classes; "splits": the folders in them are; "auto": one of both, by their
            names and content.

    Raises:
        DatasetError: there are none, or it is not plain which folders they are.
    """
    root = descend(folder, "")
    plain = layout == "auto"
    splits = {} if layout == "classes" else _splits(folder, root) if plain else _splits_as_named(folder, root)
    roots = {top: descend(folder, top) for top in splits}
    notes = _inner(folder, roots if splits else {"": root})
    if any(name_of(top) not in SPLITS for top in splits):
        taken = " and ".join(f"{folder.place(top)} as {split}" for top, split in splits.items())
        notes.insert(0, f"Splits are taken from the names of folders: {taken}.")
    parents: dict[str | None, str] = {split: roots[top] for top, split in splits.items()} or {None: root}
    classes = {split: _class_folders(folder, parent, plain) for split, parent in parents.items()}
    for parent in {ancestor for paths in classes.values() for path in paths for ancestor in _ancestors(path)}:
        content = folder.content(parent)
        images = set(content.images)
        for path, name in zip(content.paths(), content.files, strict=True):
            folder.leave_out(path, BESIDE if name in images else OTHER)
    return Layout(classes, notes)


def descend(folder: RawFolder, path: str) -> str:
    """The folder itself, or the one that holds the classes where a folder holds nothing but one other, as archives that
    were unpacked into a folder of their own do."""
    while len(folder.content(path).folders) == 1 and not folder.content(path).images:
        (inner,) = _subfolders(folder, path)
        if _holds_images(folder, inner) or not folder.content(inner).folders:
            break
        if _is_plain_split(name_of(inner)) and name_of(inner) != name_of(path):
            break
        path = inner
    return path


def _inner(folder: RawFolder, roots: dict[str, str]) -> list[str]:
    return [
        f"The class folders are those in {folder.place(inner)}: {folder.place(outer)} holds no other folder."
        for outer, inner in roots.items()
        if inner != outer
    ]


def _ancestors(path: str) -> list[str]:
    """The folders that a folder lies in, up to "", the dataset itself."""
    above = []
    while path:
        path = parent_of(path)
        above.append(path)
    return above


# --- Splits -------------------------------------------------------------------------------------


def _splits(folder: RawFolder, root: str) -> dict[str, str]:
    """The split of each folder in `root`; {} where they are classes."""
    tops = _subfolders(folder, root)
    named = {top: name for top in tops if (name := split_name(name_of(top)))}
    plain = {top: name.split for top, name in named.items() if not name.rest}
    if plain and len(plain) == len(tops):
        return _complete_splits(folder, root, plain)
    reserved = [top for top in plain if name_of(top).lower() in RESERVED]
    kinds = set(plain.values())
    if reserved or ("train" in kinds and len(kinds) > 1):
        others = [top for top in tops if top not in plain]
        flat = _flat(folder, plain)
        if len(kinds) > 1 and len(flat) == len(plain):
            raise errors.flat_splits(folder, root, list(plain), flat)
        if any(not _holds_images(folder, top) for top in plain) or len(kinds) > 1:
            raise errors.mixed(folder, root, list(plain), [*others, *(flat if len(plain) > 1 else [])])
        raise errors.reserved(folder, reserved[0])
    if not _in_several_splits(named):
        return {}
    if len(named) < len(tops):
        raise errors.mixed(folder, root, list(named), [top for top in tops if top not in named])
    if len({name.rest for name in named.values()}) == 1 and not any(_holds_images(folder, top) for top in tops):
        return _complete_splits(folder, root, {top: name.split for top, name in named.items()})
    if len({name.rest for name in named.values()}) == 1 and any(map(folder.in_tars, tops)):  # as ImageNet's own tars
        raise errors.flat_splits(folder, root, tops, _flat(folder, tops))
    raise errors.split_in_names(folder, root, named)


def _splits_as_named(folder: RawFolder, root: str) -> dict[str, str]:
    """The split of each folder in `root`, all of which must be named after one."""
    tops = _subfolders(folder, root)
    named = {top: name.split for top in tops if (name := split_name(name_of(top)))}
    if len(named) < len(tops):
        raise errors.mixed(folder, root, list(named), [top for top in tops if top not in named])
    return _complete_splits(folder, root, named)


def _in_several_splits(named: dict[str, SplitName]) -> bool:
    """Whether one thing is there for training and for tests: of "cat_train", "cat_test", not "bus_train", "a_test"."""
    to_train = {name.rest for name in named.values() if name.split == "train"}
    return any(name.rest in to_train for name in named.values() if name.split != "train")


def _complete_splits(folder: RawFolder, root: str, splits: dict[str, str]) -> dict[str, str]:
    """The same splits, after a check that one is to train with and another is there, with classes in each."""
    flat = _flat(folder, splits)
    if len(splits) > 1 and flat:
        raise errors.flat_splits(folder, root, list(splits), flat)
    by_split: dict[str, list[str]] = {}
    for top, split in splits.items():
        by_split.setdefault(split, []).append(top)
    twice = [tops for tops in by_split.values() if len(tops) > 1]
    if twice:
        raise errors.two_of_a_split(folder, twice[0])
    if "train" not in by_split or len(by_split) == 1:
        raise errors.no_such_split(folder, next(iter(splits)), "val" if "train" in by_split else "train")
    return splits


def _flat(folder: RawFolder, tops: Iterable[str]) -> list[str]:
    """Those that hold files and no folders."""
    return [top for top in tops if not folder.content(top).folders and folder.content(top).files]


# --- Classes ------------------------------------------------------------------------------------


def _class_folders(folder: RawFolder, parent: str, check: bool) -> list[str]:
    """The folders in `parent`; `check` that they plainly are classes."""
    tops = _subfolders(folder, parent)
    if not tops:
        raise errors.no_classes(folder, parent)
    roles = {top: role(name_of(top)) for top in tops}
    known = [top for top in tops if roles[top] or split_name(name_of(top))]
    if check and {"images", "targets"} <= _with_splits(roles) and 2 * len(known) > len(tops):
        raise errors.images_and_targets(folder, parent, known)
    if len(tops) == 1:
        raise errors.one_class(folder, tops[0], flat=roles[tops[0]] == "images")
    if check:
        _check_content(folder, parent, tops)
    return tops


def _check_content(folder: RawFolder, parent: str, tops: list[str]) -> None:
    """Raises DatasetError: by what they hold, some folders are no classes, or not all in them belongs to the class."""
    inner: dict[str, set[str]] = {}  # folders in them that say nothing by their names
    for top in tops:
        names = folder.content(top).folders
        targets = [name for name in names if role(name) == "targets" and _may_hold_images(folder, f"{top}{name}/")]
        if targets and (folder.content(top).images or any(role(name) == "images" for name in names)):
            raise errors.targets_in_classes(folder, top, targets)
        splits = [name for name in names if _is_plain_split(name)]
        if len({split_name(name) for name in splits}) > 1:
            raise errors.splits_in_classes(folder, top, splits)
        inner[top] = {name for name in names if role(name) is None}
    nested = [top for top in tops if inner[top] and not _holds_images(folder, top)]
    if len(nested) > 1 and 2 * len(nested) > len(tops):
        common = set.intersection(*(inner[top] for top in nested))
        union = set.union(*(inner[top] for top in nested))
        if len(common) > 1 and 2 * len(common) >= len(union):
            raise errors.same_folders(folder, parent, nested, sorted(common))


def _with_splits(roles: dict[str, str | None]) -> set[str | None]:
    """The roles of folders; one that is named as a split and holds no targets stands for images."""
    return {found or ("images" if _is_plain_split(name_of(top)) else None) for top, found in roles.items()}


def _is_plain_split(name: str) -> bool:
    named = split_name(name)
    return named is not None and not named.rest


def _holds_images(folder: RawFolder, path: str) -> bool:
    """Whether images lie in the folder itself, more than a few strays beside its folders."""
    content = folder.content(path)
    return len(content.images) > len(content.folders) if content.folders else bool(content.files)


def _may_hold_images(folder: RawFolder, path: str) -> bool:
    content = folder.content(path)
    return bool(content.images or content.folders)


def _subfolders(folder: RawFolder, path: str) -> list[str]:
    return [f"{path}{name}/" for name in folder.content(path).folders]
