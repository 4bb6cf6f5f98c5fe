"""Datasets in the forms in which Hugging Face's `datasets` writes them, made with pyarrow alone."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

from tests.make_images import photo

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = 5  # of each batch, or row group


def images(number: int, seed: int = 0, size: tuple[int, int] = (12, 10)) -> list[bytes]:
    """PNG files; the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    files = []
    for _ in range(number):
        file = io.BytesIO()
        photo(rng, *size).save(file, "PNG")
        files.append(file.getvalue())
    return files


def table(files: Sequence[bytes | None], features: Mapping[str, dict] = {}, **columns: object) -> pa.Table:
    """Images and other columns, with the metadata that `datasets` reads and writes."""
    cells = [{"bytes": file, "path": f"{number}.png"} for number, file in enumerate(files)]
    found = pa.table({"image": pa.array(cells, IMAGE), **columns})
    metadata = {"info": {"features": {"image": {"_type": "Image"}, **features}}}
    return found.replace_schema_metadata({"huggingface": json.dumps(metadata)})


def labelled(number: int, names: Sequence[str] = ("dog", "cat"), seed: int = 0) -> pa.Table:
    """Images whose label is a ClassLabel, each class in turn."""
    labels = pa.array([place % len(names) for place in range(number)], pa.int64())
    return table(images(number, seed), {"label": {"_type": "ClassLabel", "names": list(names)}}, label=labels)


def write_parquet(path: Path, content: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(content, path, row_group_size=ROWS)


def save_to_disk(folder: Path, content: pa.Table, shards: int = 1) -> None:
    """As Dataset.save_to_disk does; for a DatasetDict, once for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05}-of-{shards:05}.arrow" for number in range(shards)]
    each = -(-len(content) // shards)
    for number, name in enumerate(names):
        with ipc.new_stream(str(folder / name), content.schema) as file:
            file.write_table(content.slice(number * each, each), max_chunksize=ROWS)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
