"""What benchmarks have in common that measure FFCVDataLoader on one workload."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.loader import QUICK, add_common_arguments, folder_of, positive
from benchmarks.page import publish
from benchmarks.workloads import Prepared, Workload, prepare
from formwork.system import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=positive, default=cores(), help="of the loader")
    add_common_arguments(parser)


@contextmanager
def prepared_for(a: argparse.Namespace, workload: Workload, epochs: int = 1) -> Iterator[Prepared]:
    """The workload in the folder of --folder, with images for an epoch so many times as long as its own."""
    with folder_of(a.folder) as folder:
        yield prepare(workload, folder, epochs * workload.kind.count // (QUICK if a.quick else 1))


def publish_or_print(a: argparse.Namespace, section: str, text: str, results: Mapping[str, object]) -> None:
    """publish; after --quick print alone."""
    if a.quick:
        print(text)
        return
    command = f"python benchmarks/run.py {section} --workers {a.workers} --rounds {a.rounds}"
    publish(section, command, text, results, a.page, a.results)
