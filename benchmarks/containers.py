"""Raw data in tars beside the same images in files of their own: CPU time of DVC's commands and of link."""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measured_command import run_measured
from benchmarks.page import add_page_arguments, publish
from benchmarks.scale import NAME, make_repository
from benchmarks.scale_images import make_images
from formwork.text import table
from formwork.tools.pack import pack
from formwork.yaml import dump_yaml, read_yaml

COMMANDS = {
    "`dvc add`": f"-m dvc add data/raw/{NAME}",
    "`dvc status`": f"-m dvc status data/raw/{NAME}.dvc",
    "`dvc push` to a folder": f"-m dvc push data/raw/{NAME}.dvc",
    "`link`": f"src/link.py data/raw/{NAME} data/interim/{NAME} data/processed/{NAME} findings.csv splits.csv",
    "`link` again, nothing changed": "",
}
"""Arguments of Python by what the command is called; "": those before it again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--tars", type=int, default=100, help="number of them, about")
    parser.add_argument("--folder", type=Path, help="where to work, with room; default: a temporary folder")
    add_page_arguments(parser, "tars.md")


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-containers-", dir=arguments.folder) as name:
        loose, packed = (Path(name, layout, "repository") for layout in ("loose", "tars"))
        environments = [_repository(repository) for repository in (loose, packed)]
        make_images(loose / "data/raw" / NAME, arguments.images, tars=False)
        size = sum(path.stat().st_size for path in (loose / "data/raw" / NAME).rglob("*.jpg"))
        pack(loose / "data/raw" / NAME, packed / "data/raw" / NAME, size // arguments.tars)
        number = len(list((packed / "data/raw" / NAME).glob("*.tar")))
        runs = [_cpu_seconds(repository, of) for repository, of in zip((loose, packed), environments, strict=True)]
        found = {}
        for command, (of_files, of_tars) in zip(COMMANDS, zip(*runs, strict=True), strict=True):  # in turn
            print(f"{command}: {of_files:.1f} and {of_tars:.1f} CPU s", file=sys.stderr)
            found[command] = {"files": of_files, "tars": of_tars}
    rows = [
        [command, f"{cpu['files']:.1f}", f"{cpu['tars']:.1f}", f"{cpu['files'] / cpu['tars']:.1f}"]
        for command, cpu in found.items()
    ]
    command = f"python benchmarks/run.py containers --images {arguments.images} --tars {arguments.tars}"
    images = f"{arguments.images:,} JPEGs of {size / arguments.images / 1e3:.1f} kB"
    body = f"{images}, in files and in {number} tars, with one process; CPU seconds.\n\n"
    body += table(["command", "files, CPU s", "tars, CPU s", "files over tars"], rows)
    publish("containers", command, body, {"cpu_seconds": found}, arguments.page, arguments.results)


def _repository(path: Path) -> dict[str, str]:
    path.parent.mkdir()
    environment = make_repository(path)
    params = read_yaml(path / "params.yaml")
    params["data"]["num_workers"] = 1  # in the stage's own process, whose time is counted
    (path / "params.yaml").write_text(dump_yaml(params))
    return environment


def _cpu_seconds(repository: Path, environment: dict[str, str]) -> Iterator[float]:
    """Run the commands one after the other, each when it is asked for."""
    words: list[str] = []
    for command in COMMANDS.values():
        words = command.split() or words
        yield run_measured([sys.executable, *words], repository, environment)[0].cpu_seconds
