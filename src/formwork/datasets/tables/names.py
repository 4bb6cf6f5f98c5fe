"""What the names of columns and of files say: which table, and which of its columns is what."""

import re
import unicodedata

NAMES = ("labels", "metadata")
"""Names of a table of labels, without the extension."""

KEYS = (
    "path",
    "file_name",
    "filename",
    "file",
    "filepath",
    "file_path",
    "image_path",
    "img_path",
    "image",
    "img",
    "image_file",
    "image_name",
    "img_name",
    "image_id",
    "img_id",
    "id",
)
"""Columns that say which image a row is about, the surest first."""

ROLES = {
    "label": ("label", "class", "class_name", "category"),
    "labels": ("labels", "tags", "classes", "categories"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
    "weight": ("weight", "sample_weight"),
}
"""Columns that say something of an image, by what they say; the surest first."""

COUNTERS = ("index", "id", "idx", "row", "unnamed:_0", "level_0", "__index_level_0__")
"""Columns that number rows, as pandas and databases write: no targets."""


def plain(name: str) -> str:
    """A column's name without what people vary: case, spaces, hyphens."""
    return re.sub(r"[\s\-]+", "_", unicodedata.normalize("NFKC", name).strip().casefold())
