"""What names of files and folders say: splits, images beside their annotations, and kinds of files."""

import re
import unicodedata
from typing import NamedTuple

from formwork.images.pixels import EXTENSIONS

RESERVED = ("train", "val", "test")
"""Names of splits in any case: no class beside other classes is called so."""

# --- Splits and roles ---------------------------------------------------------------------------

SPLIT_WORDS = {
    "train": {"train", "trains", "training", "trainings", "trn", "tr", "trainval"},
    "val": {"val", "vals", "valid", "validation", "validate", "validating", "dev", "devel", "development"}
    | {"eval", "evaluation", "evaluate", "holdout"},
    "test": {"test", "tests", "testing", "tst", "te", "ts"},
}
FILLERS = {"set", "sets", "split", "splits", "data", "dataset", "datasets", "folder", "folders", "dir", "files"}
FILLERS |= {"part", "subset", "subsets", "jpg", "jpeg", "png", "all", "the", "new", "final", "copy"}
IMAGES = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pic", "pics", "rgb", "input"}
IMAGES |= {"inputs", "frame", "frames"}
TARGETS = {"mask", "masks", "annotation", "annotations", "annot", "annots", "anno", "annos", "ann", "anns", "label"}
TARGETS |= {"labels", "gt", "gts", "groundtruth", "truth", "truths", "segmentation", "segmentations", "seg", "segs"}
TARGETS |= {"segmap", "segmaps", "xml", "xmls", "json", "jsons", "bbox", "bboxes", "box", "boxes", "target", "targets"}
TARGETS |= {"output", "outputs", "trimap", "trimaps", "depth", "depths", "heatmap", "heatmaps", "keypoints", "contours"}
TARGETS |= {"polygons", "landmarks", "alpha", "labelmap", "labelmaps", "captions"}
TARGET_FILLERS = {
    "ground",
    "txt",
    "class",
    "object",
    "instance",
    "instances",
    "semantic",
    "binary",
    "color",
    "colour",
    "raw",
}

WORDS = re.compile(r"[^\W\d_]+|\d+")
CASES = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
DECORATION = "|".join(sorted(FILLERS | IMAGES, key=len, reverse=True))


def _joined(words: set[str]) -> re.Pattern[str]:
    """Matches "trainset" and "imgtrain": a split's word, and words of FILLERS and IMAGES at one side of it."""
    stem = "|".join(sorted((word for word in words if len(word) > 2), key=len, reverse=True))
    return re.compile(f"({stem})({DECORATION})+|({DECORATION})+({stem})")


JOINED = {split: _joined(words) for split, words in SPLIT_WORDS.items()}


class SplitName(NamedTuple):
    """A folder's name that says a split. rest: its other words, without those that mean nothing: () in "train_set"."""

    split: str
    rest: tuple[str, ...]


def split_name(name: str) -> SplitName | None:
    """The split that a folder is named after, in any usual spelling: "Training", "train2017", "val_images", "tst"."""
    splits, rest = set(), []
    for word in _words(name):
        split = _split_of_word(word)
        if split:
            splits.add(split)
        elif word not in FILLERS | IMAGES and not word.isdecimal():
            rest.append(word)
    if splits == {"train", "val"}:  # "trainval": all that one trains with
        splits = {"train"}
    elif splits == {"val", "test"}:  # "test-dev"
        splits = {"test"}
    return SplitName(splits.pop(), tuple(rest)) if len(splits) == 1 else None


def _split_of_word(word: str) -> str | None:
    return next((s for s, words in SPLIT_WORDS.items() if word in words or JOINED[s].fullmatch(word)), None)


def role(name: str) -> str | None:
    """ "images" or "targets" (masks, annotations, labels, ...) where a folder is named after one side of such pairs."""
    all_words = [word for word in _words(name) if not word.isdecimal()]
    words = [word for word in all_words if word not in FILLERS and not _split_of_word(word)]
    if any(word in TARGETS for word in words) and all(word in TARGETS | IMAGES | TARGET_FILLERS for word in words):
        return "targets"
    if not words:  # "data", for one
        return "images" if any(word in FILLERS for word in all_words) else None
    return "images" if all(word in IMAGES for word in words) else None


def _words(name: str) -> list[str]:
    """The words of a name in lower case: of "seg_TrainSet-2" seg, train, set and 2."""
    spaced = CASES.sub(" ", unicodedata.normalize("NFKC", name))
    return [word.casefold() for word in WORDS.findall(spaced)]


# --- Kinds of files, by extension ----------------------------------------------------------------

TEXTS = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".rst", ".html", ".htm", ".yaml", ".yml", ".pdf"}
TEXTS |= {".xls", ".xlsx", ".doc", ".docx", ".log", ".mat", ".npy", ".npz", ".pkl", ".h5", ".hdf5", ".parquet", ".ini"}
TEXTS |= {".py", ".ipynb", ".sh", ".cfg", ".names", ".url", ".md5", ".sha256", ".zip", ".tar", ".gz", ".tgz", ".7z"}
TEXTS |= {".rar", ".db"}
"""Extensions of what people keep beside images: notes, tables, annotations, archives."""
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Of tables that can say the labels of images; OTHER_TABLES must be saved as one of these."""
OTHER_TABLES = (".xlsx", ".xls", ".json", ".mat")
IMAGE_EXTENSIONS = {extension for extensions in EXTENSIONS.values() for extension in extensions}


def extension(name: str) -> str:
    """ ".png" of "a.PNG"; "" where there is none."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem else ""
