"""The link stage on a raw dataset in a temporary folder, and what it wrote there."""

import csv
from pathlib import Path

from formwork.datasets.link import link
from formwork.images.manifest import SPLITS, read_manifest
from formwork.interim.settings import Settings, read_settings
from formwork.params import Params

NAME = "mine"
OUTS = ("train.csv", "val.csv", "test.csv", "dataset.json")


def run_link(data: Path, dataset: dict | None = None, split_file: Path | None = None, **params: object) -> Settings:
    """Run on <data>/raw/mine as the stage does; params are those of the section data."""
    sections = {"data": {"name": NAME, **params}, "datasets": {} if dataset is None else {NAME: dataset}}
    raw, interim = data / "raw" / NAME, data / "interim" / NAME
    link(Params.model_validate(sections), raw, interim, data / "report.csv", split_file)
    return read_settings(interim / "dataset.json")


def rows(data: Path, split: str) -> dict[str, tuple[str, int]]:
    """Class name and label by path."""
    manifest = read_manifest(data / "interim" / NAME / f"{split}.csv")
    return {row.path: (row.class_name, row.label) for row in manifest.rows}


def all_rows(data: Path) -> dict[str, tuple[str, int]]:
    """The same of all splits together."""
    return {path: row for split in SPLITS for path, row in rows(data, split).items()}


def outs(data: Path) -> list[bytes]:
    return [(data / "interim" / NAME / name).read_bytes() for name in OUTS]


def report(data: Path) -> dict[str, str]:
    with (data / "report.csv").open(newline="", encoding="utf-8") as file:
        return {line["path"]: line["kind"] for line in csv.DictReader(file)}
