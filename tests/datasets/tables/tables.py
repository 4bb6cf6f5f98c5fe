"""A raw dataset of empty files with a table of labels, and what is read of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from formwork.datasets.candidates import Candidates, RawFiles, find_files
from formwork.datasets.tables.assign import TableParams

FILES = ("a.png", "b.png", "c.png", "d.png")
PLAIN = "path,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"


@dataclass(frozen=True)
class Dataset:
    """A raw dataset; messages name it RAW."""

    raw: Path

    def write(self, table: str | bytes | pa.Table, name: str = "labels.csv") -> "Dataset":
        path = self.raw / name
        if isinstance(table, pa.Table):
            parquet.write_table(table, path)
        else:
            path.write_bytes(table if isinstance(table, bytes) else table.replace("RAW", str(self.raw)).encode())
        return self

    def read(self, **params: object) -> RawFiles:
        table = TableParams("mine", **{name: params[name] for name in ("task", "columns", "group") if name in params})
        return find_files(self.raw, ignore=params.get("ignore", ()), table=table)

    def labels(self, **params: object) -> dict[str, str]:
        """What each listed file has, as text."""
        return labels_of(self.read(**params).candidates)

    def shown(self, text: str) -> str:
        return text.replace(str(self.raw), "RAW")


def make(folder: Path, files: Sequence[str] = FILES) -> Dataset:
    raw = folder / "raw/mine"
    for file in files:
        path = raw / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Dataset(raw)


def labels_of(candidates: Candidates) -> dict[str, str]:
    return {candidate.path: candidate.class_name for candidate in candidates}
