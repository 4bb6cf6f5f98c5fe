"""The stamp of a tree of links: what it was made from, so that a change of few rows makes few links anew.

An Arrow file. Its header answers whether the tree is up to date; its rows are read when it is not.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.files import atomic_write
from formwork.images.manifest import Manifest

FACTS = b"tree"  # key of the header


class Links:
    """The links of N images, as columns: path of the raw image, and the class that its folder in the tree is named by.

    The class is "" where the folders of the tree are those of the raw images.
    """

    def __init__(self, table: pa.Table):
        self.table = table

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for batch in self.table.to_batches(max_chunksize=1 << 16):
            paths = (path.decode("utf-8", "surrogateescape") for path in batch.column("path").to_pylist())
            yield from zip(paths, batch.column("class_name").to_pylist(), strict=True)


def links_of(manifest: Manifest) -> Links:
    """Those of images that lie in no tar. Where a table has the labels, folders are not called after classes: equal
    file names would collide."""
    names = pa.repeat("", len(manifest)) if manifest.columns.from_table else manifest.table.column("class_name")
    table = pa.table({"path": manifest.table.column("path"), "class_name": names.cast(pa.string())})
    return Links(table if len(manifest.loose) == len(manifest) else table.take(pa.array(manifest.loose)))


def differences(before: Links, after: Links) -> tuple[Links, Links]:
    """The links that are only in `before`, and those only in `after`."""
    at = pc.index_in(after.table.column("path"), before.table.column("path").combine_chunks())
    same = pc.equal(before.table.column("class_name").take(at), after.table.column("class_name"))
    kept = pc.fill_null(same, False).to_numpy()
    gone = np.ones(len(before.table), bool)
    gone[pc.fill_null(at, 0).to_numpy()[kept]] = False
    return Links(before.table.filter(pa.array(gone))), Links(after.table.filter(pa.array(~kept)))


@dataclass(frozen=True)
class Stamp:
    """The state of a tree.

    Attributes:
        digest: of the manifest that it was made from.
        raw: path from the tree to the raw images.
        folders: when each folder of the tree was last changed, in ns since 1970; "" is the tree itself.
        path: of the stamp's file, which has the links.
    """

    digest: str
    raw: str
    folders: dict[str, int]
    path: Path | None = None

    def links(self) -> Links | None:
        """None where the file is damaged."""
        assert self.path is not None
        try:
            with open(self.path, "rb") as file:
                table = pa.ipc.open_file(file).read_all()
            table.validate(full=True)
            return Links(table.select(["path", "class_name"]))
        except (pa.ArrowException, FileNotFoundError, KeyError):
            return None

    def write(self, path: Path, links: Links) -> None:
        facts = {"digest": self.digest, "raw": self.raw, "folders": self.folders}
        table = links.table.replace_schema_metadata({FACTS: json.dumps(facts)})
        with atomic_write(path) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


def read_stamp(path: Path) -> Stamp | None:
    """None where there is none, or it is damaged."""
    try:
        with open(path, "rb") as file:
            facts = json.loads(pa.ipc.open_file(file).schema.metadata[FACTS])
        return Stamp(facts["digest"], facts["raw"], facts["folders"], path)
    except (pa.ArrowException, FileNotFoundError, KeyError, TypeError, ValueError):
        return None
