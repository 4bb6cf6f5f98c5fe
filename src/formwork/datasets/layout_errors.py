"""What is said where a raw dataset is not plainly a folder for each class: what was found, and what to type."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from formwork.datasets.folder_names import OTHER_TABLES, TABLES, SplitName, extension, split_name
from formwork.datasets.listing import RawFolder, name_of, parent_of
from formwork.datasets.tar_folders import is_tar
from formwork.errors import DatasetError
from formwork.escapes import printable, shell_word
from formwork.text import count

LISTED = 20  # names in a message
COMMANDS = 4  # commands in a message
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


# --- Splits -------------------------------------------------------------------------------------


def mixed(folder: RawFolder, root: str, splits: Sequence[str], others: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{_place(folder, root)} mixes split folders ({_names(splits)}) with others ({_names(others)}). Use either "
        f"<class>/* or {{train,val,test}}/<class>/*. To leave the others out: "
        f"{_ignore(folder, _patterns(folder, others))}.{_or_classes(folder, root)}"
    )


def reserved(folder: RawFolder, top: str) -> DatasetError:
    name, path = name_of(top), top.rstrip("/")
    return DatasetError(
        f"{folder.place(path)} stands beside class folders, and {printable(name)} is reserved as the name of a split. "
        f"If it is a class, rename it: `{_rename(folder, top, f'{path}_class')}`."
        f"{_or_classes(folder, parent_of(top))}"
    )


def split_in_names(folder: RawFolder, root: str, named: Mapping[str, SplitName]) -> DatasetError:
    moves = []
    for top, name in named.items():
        parent = f"{root}{name.split}/"
        moves.append(_move(folder, top, parent, "_".join(name.rest) or name_of(top)))
    return DatasetError(
        f"The folders of {_place(folder, root)} are named after splits ({_names(named)}). Have a folder for each "
        f"split, with one for each class in it:{_commands(moves)}{_or_classes(folder, root).strip()}"
    )


def flat_splits(folder: RawFolder, root: str, splits: Sequence[str], flat: Sequence[str]) -> DatasetError:
    advice = _no_labels(folder, root)
    if len(flat) < len(splits):
        advice = f"To leave out what has no labels: {_ignore(folder, _patterns(folder, flat))}. {advice}"
    hold = "hold" if len(flat) > 1 else "holds"
    return DatasetError(
        f"{_place(folder, root)} has folders with names reserved for splits ({_names(splits)}), and {_names(flat)} "
        f"{hold} files and no class folders. {advice}{_or_classes(folder, root)}"
    )


def two_of_a_split(folder: RawFolder, tops: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{' and '.join(_place(folder, top) for top in tops)} are both named after the same split. Merge them, or "
        f"leave one out: {_ignore(folder, _patterns(folder, tops[1:]))}.{_or_classes(folder, parent_of(tops[0]))}"
    )


def no_such_split(folder: RawFolder, there: str, split: str) -> DatasetError:
    root = parent_of(there)
    path = there.rstrip("/")
    source, target = folder.argument(path), folder.argument(root).rstrip("/")
    mend = f"without folders for splits: `mv {source}/* {target}/ && rmdir {source}`"
    if folder.in_tars(there):
        mend = "with tars that are not called by splits, such as part-000.tar"
    return DatasetError(
        f"{_place(folder, root)} has {printable(name_of(there))}/ and no folder for the {split} split. Add "
        f"{folder.place(f'{root}{split}')}. Or let data.split decide, {mend}."
    )


# --- Classes ------------------------------------------------------------------------------------


def no_classes(folder: RawFolder, parent: str) -> DatasetError:
    content = folder.content(parent)
    archives = [name for name in sorted(content.files) if extension(name) in ARCHIVES]
    if content.images:
        lie = "lies" if len(content.images) == 1 else "lie"
        more = f": {count(len(content.images), 'image')} {lie} loose there. {_no_labels(folder, parent)}"
        if folder.in_tars(parent) or any(is_tar(place.rstrip("/")) for place, _ in content.places):
            more += _or_tars_are_classes(folder, parent)
    elif archives:
        more = f", but {printable(archives[0])}: unpack it there."
    else:
        more = ". Put the images of each class into a folder of its own."
    return DatasetError(f"{_place(folder, parent)} holds no class folders{more}")


def one_class(folder: RawFolder, top: str, flat: bool) -> DatasetError:
    """flat: whether the folder is named as if it held all images of the dataset."""
    parent = parent_of(top)
    message = (
        f"{_place(folder, parent)} holds one class only, {printable(name_of(top))!r}: there is nothing to tell apart."
    )
    images = len(folder.content(top).images)
    if images and (flat or _tables(folder, parent)):
        message += f" All {count(images, 'image')} lie in one folder. {_no_labels(folder, parent)}"
    if images and len(folder.patterns(top)) > 1 and folder.in_tars(top):
        message += _or_tars_are_classes(folder, parent)
    return DatasetError(message)


def images_and_targets(folder: RawFolder, parent: str, tops: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{_place(folder, parent)} holds {_names(tops)}, and no class folders: images beside their masks, annotations "
        f"or labels, as for segmentation or detection. Formwork classifies images. {_no_labels(folder, parent)}"
        f"{_or_classes(folder, parent)}"
    )


def targets_in_classes(folder: RawFolder, top: str, targets: Sequence[str]) -> DatasetError:
    return DatasetError(
        f"{_place(folder, top)} holds images beside {_names(targets)}, which would count as images of the class. Leave "
        f"them out: {_ignore(folder, [_escaped(f'{name}/') for name in targets])}."
        f"{_or_classes(folder, parent_of(top))}"
    )


def splits_in_classes(folder: RawFolder, top: str, splits: Sequence[str]) -> DatasetError:
    moves = []
    for name in splits:
        named = split_name(name)
        assert named is not None  # the caller says so
        moves.append(_move(folder, f"{top}{name}/", f"{parent_of(top)}{named.split}/", name_of(top)))
    return DatasetError(
        f"{_place(folder, top)} holds folders named after splits ({_names(splits)}). Have them the other way round, a "
        f"folder for each split with one for each class in it:{_commands(moves)}and so on."
        f"{_or_classes(folder, parent_of(top))}"
    )


def same_folders(folder: RawFolder, parent: str, tops: Sequence[str], common: Sequence[str]) -> DatasetError:
    splits = ""
    if len(tops) == 2 and split_name(name_of(parent)) is None:
        moves = [_rename(folder, top, f"{parent}{split}") for top, split in zip(tops, ("train", "val"), strict=True)]
        splits = f" If they are two splits, name them so:{_commands(moves)}"
    return DatasetError(
        f"The folders of {_place(folder, parent)} ({_names(tops)}) hold the same folders ({_names(common)}), which "
        f"look like the classes.{splits or ' '}If they are parts of one dataset, put the images of each class into one "
        f"folder.{_or_classes(folder, parent)}"
    )


# --- Words that they share ------------------------------------------------------------------------


def _or_classes(folder: RawFolder, parent: str) -> str:
    """How to say that all is well. parent: the folder that holds what would be the classes."""
    return f" If each folder in {_place(folder, parent)} is a class all the same: {_setting(folder, parent)}."


def _or_tars_are_classes(folder: RawFolder, parent: str) -> str:
    """How to say that tars are no shards. parent: the folder that they lie in."""
    setting = _setting(folder, parent)
    return f" Its tars are taken for shards of one whole, by their numbers; if each is a class: {setting}."


def _setting(folder: RawFolder, parent: str) -> str:
    """What says that the folders in one are classes."""
    layout, name = "splits" if split_name(name_of(parent)) else "classes", folder.raw.name
    setting = f"`-S ++datasets.{name}.layout={layout}`"
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):  # hydra, which reads -S for DVC, takes no other as a key
        setting = f"`layout: {layout}` in datasets.{printable(name)} of params.yaml"
    return setting


def _no_labels(folder: RawFolder, parent: str) -> str:
    """What to do where nothing says the labels of images, or a table of another name may."""
    advice = (
        "Put each image into a folder named after its class, or write labels.csv with the columns path and label "
        "(docs/labels.md)."
    )
    for path in _tables(folder, parent):
        place = path[: len(path) - len(name_of(path))]
        to = f"{place}labels{extension(path)}"
        mend = f": `mv {folder.argument(path)} {folder.argument(to)}`"
        if extension(path) not in TABLES:
            mend = f", save it as {folder.place(f'{place}labels.csv')}"
        return f"{advice} If {printable(name_of(path))} says the labels{mend}."
    return advice


def _tables(folder: RawFolder, parent: str) -> list[str]:
    """Files that may hold labels: beside a folder, or at the top."""
    places = dict.fromkeys([parent, ""])
    files = [path for place in places for path in sorted(folder.content(place).paths())]
    return [path for path in files if extension(path) in (*TABLES, *OTHER_TABLES)]


def _move(folder: RawFolder, path: str, parent: str, name: str) -> str:
    """The command that moves a folder into another one, which need not exist, under a name."""
    to = parent.rstrip("/")
    return f"mkdir -p {folder.argument(to)} && {_rename(folder, path, f'{to}/{name}')}"


def _rename(folder: RawFolder, path: str, to: str) -> str:
    """The command that moves a folder, or the tar that it is; what to do where there is none."""
    if not folder.in_tars(path):
        return f"mv {folder.argument(path.rstrip('/'))} {folder.argument(to)}"
    tars = folder.patterns(path)
    if len(tars) == 1 and is_tar(tars[0]):
        return f"mv {folder.argument(path.rstrip('/'))} {folder.argument(f'{to}.tar')}"
    return f"unpack {folder.place(path)}, and pack it anew as {printable(to)}"


def _ignore(folder: RawFolder, patterns: Iterable[str]) -> str:
    """The option that leaves out what the patterns match, beside what is left out already."""
    plain = re.compile(r"[\w./*-]+")
    listed = [pattern if plain.fullmatch(pattern) else f'"{pattern}"' for pattern in (*folder.ignore, *patterns)]
    option = f"data.ignore=[{', '.join(listed)}]"
    return f"`-S {shell_word(option)}`"


def _patterns(folder: RawFolder, paths: Iterable[str]) -> list[str]:
    """Patterns of data.ignore that match just these folders, or the tars that they are made of."""
    return [f"/{_escaped(place)}" for path in paths for place in folder.patterns(path)]


def _escaped(path: str) -> str:
    return re.sub(r"[\\*?\[]", r"\\\g<0>", path)


def _commands(lines: Sequence[str]) -> str:
    more = ["\n  ..."] if len(lines) > COMMANDS else []
    return "".join([*(f"\n  {line}" for line in lines[:COMMANDS]), *more, "\n"])


def _names(paths: Iterable[str]) -> str:
    listed = [printable(name_of(path)) for path in islice(paths, LISTED + 1)]
    return ", ".join(listed[:LISTED] + ["..."] * (len(listed) > LISTED))


def _place(folder: RawFolder, path: str) -> str:
    return folder.place(path.rstrip("/"))
