"""Tars of a raw dataset as the folders that they stand for: which folder each is, and what lies in its folders."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from formwork.datasets.folder_names import FILLERS, IMAGE_EXTENSIONS, IMAGES, TEXTS, extension, split_name
from formwork.images.tars import TAR, TarIndex

COUNTED = re.compile(r"(?P<name>.*?)(?P<between>[-_. ]*)(?P<number>\d+)(?P<of>[-_]of[-_]\d+)?", re.DOTALL)
SHARDS = {"shard", "shards", "chunk", "chunks", "part", "parts", "batch", "archive", "tar"} | FILLERS | IMAGES
"""Words that name no class: where a number follows one of them, it counts parts of one whole."""
CLASSES = {"class", "cls", "category", "label"}
"""Words after which a number names a class."""
LABEL, FACTS = ".cls", ".json"
"""Extensions of what WebDataset keeps beside an image: its class, and an object of whatever else is known of it."""
PROBES = 16  # images of a tar that are looked for beside it


@dataclass(eq=False)
class Tar:
    """A tar of a raw dataset, which may lie in another.

    Attributes:
        path: relative to the raw dataset; that of a tar in a tar begins with the outer one's.
        index: what lies in it.
        inside: whether it lies in another tar.
        folders: names in each folder of it, of folders and of files; folders as "" or with a slash at the end.
        sidecars: names of files that say something of the image with the same key.
    """

    path: str
    index: TarIndex
    inside: bool
    folders: dict[str, tuple[list[str], list[str]]] = field(init=False)
    sidecars: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sidecars = find_sidecars(self.index.names)
        taken = set(self.sidecars)
        self.folders = {"": ([], [])}
        for name in self.index.names:
            cut = name.rfind("/") + 1
            folder = name[:cut]
            if folder not in self.folders:
                self._add(folder)
            if name not in taken:
                self.folders[folder][1].append(name[cut:])

    def _add(self, folder: str) -> None:
        """Add a folder to the one that it lies in, and that one to its own."""
        self.folders[folder] = ([], [])
        cut = folder.rstrip("/").rfind("/") + 1
        if folder[:cut] not in self.folders:
            self._add(folder[:cut])
        self.folders[folder[:cut]][0].append(folder[cut:-1])

    @property
    def is_flat(self) -> bool:
        """Whether it holds no folders and no tars."""
        folders, files = self.folders[""]
        return not folders and not any(is_tar(name) for name in files)

    @property
    def may_hold_images(self) -> bool:
        """Whether something in it is neither text nor archive, or is a tar itself."""
        return any(extension(name) not in TEXTS or is_tar(name) for name in self.index.names)

    def is_unpacked_at(self, *folders: str) -> bool:
        """Whether its images lie loose in one of some folders, as those of an archive that was unpacked and kept do."""
        images = (name for name in self.index.names if extension(name) in IMAGE_EXTENSIONS)
        probes = list(islice(images, PROBES))
        return bool(probes) and any(all(os.path.isfile(f"{folder}{name}") for name in probes) for folder in folders)


def is_tar(name: str) -> bool:
    return name.lower().endswith(TAR)


def find_sidecars(names: Sequence[str]) -> list[str]:
    """The files of a tar that say something of its images: WebDataset's .cls, and .json where it stands beside .cls or
    beside images that lie in no folder. Of images in class folders, a .json is what people keep beside them."""
    labels = [name for name in names if name.endswith(LABEL)]
    facts = [name for name in names if name.endswith(FACTS)]
    if facts and not labels:
        keys = {key_of(name) for name in names if extension(name) in IMAGE_EXTENSIONS}
        facts = [name for name in facts if "/" not in name and key_of(name) in keys]
    return labels + facts


def key_of(name: str) -> str:
    """What WebDataset calls a sample: its path up to the first dot of the file's name."""
    cut = name.rfind("/") + 1
    return name[:cut] + name[cut:].partition(".")[0]


def folder_names(tars: Iterable[tuple[str, bool]]) -> dict[str, str]:
    """The folder that each tar beside others stands for, by its file name: its name without ".tar", and without what
    counts the shards of one whole: `train-000.tar` and `train-001.tar` are parts of the folder `train`. Those
    called by numbers alone are parts of the folder that they lie in: "".

    A number counts shards where it stands alone or apart, with zeros before it, in names of the same length; where it
    follows a word that names no class; or as `-00000-of-00010`. After a word such as "class", it is of the name.

    Args:
        tars: file names, and whether the tar may be a shard.
    """
    found: dict[str, str] = {}
    groups: dict[tuple[str, str], list[tuple[str, re.Match[str]]]] = {}
    for file, may_be_shard in tars:
        found[file] = file[: -len(TAR)]
        counted = COUNTED.fullmatch(found[file])
        if may_be_shard and counted and counted["name"].casefold() not in CLASSES:
            groups.setdefault((counted["name"], counted["between"]), []).append((file, counted))
    for (name, between), group in groups.items():
        numbers = [counted["number"] for _, counted in group]
        padded = len({len(number) for number in numbers}) == 1 and any(
            len(number) > 1 and number.startswith("0") for number in numbers
        )
        if (padded and (between or not name)) or _counts(name) or all(counted["of"] for _, counted in group):
            found |= {file: name for file, _ in group}
    return found


def _counts(name: str) -> bool:
    """Whether a number after a name counts parts of one whole: after "train", or "shard"."""
    named = split_name(name)
    return (named is not None and not named.rest) or name.casefold() in SHARDS
