"""Loading: images/s of every loader on the same images, consumed by an empty loop."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import contenders, peers
from benchmarks.loader_page import (
    FFCV,
    LIBJPEG,
    ON_README,
    OURS_PYTORCH,
    PIL,
    RESIZED,
    STOCK,
    TORCHVISION,
    Measured,
    body,
    draw,
    of_workers,
    rates_table,
)
from benchmarks.loader_process import Epoch, First, Load, LoaderProcess
from benchmarks.page import add_page_arguments, publish
from benchmarks.workloads import RESTARTED, WORKLOADS, Prepared, Workload, prepare
from formwork.errors import FormworkError, did_you_mean
from formwork.kernels.compile import COMPILED, SWITCH
from formwork.system import cores
from formwork.tools.measure import alternate

FIRST_ROUNDS = 3  # processes, for the time to the first batch
QUICK = 5  # --quick: one image of so many
WAIT = {SWITCH: COMPILED}  # environment of processes that wait for their kernels where these are not compiled
LOADED = (*WORKLOADS, RESTARTED)


@dataclass(frozen=True)
class Contender:
    """resized: reads the images of the beton's resolution instead of the originals."""

    name: str
    load: Load
    resized: bool = False


ALWAYS = (
    Contender(FFCV, contenders.formwork_ffcv),
    Contender(OURS_PYTORCH, contenders.formwork_pytorch),
    Contender(STOCK, contenders.stock_ffcv),
    Contender(PIL, contenders.pytorch_pil),
    Contender(TORCHVISION, contenders.pytorch_torchvision),
)


def contenders_of(workload: Workload, with_peers: bool) -> list[Contender]:
    chosen, jpegs = list(ALWAYS), workload.beton.write_mode == "jpg"
    if workload.resized:
        chosen.append(Contender(RESIZED, contenders.pytorch_pil, resized=True))
    if (
        with_peers and workload.peers and (jpegs or workload.resized)
    ):  # they take JPEG files: the very bytes that the beton holds, or held
        named = peers.PEERS if jpegs else peers.PEERS_DECODED
        chosen += [Contender(name, load, workload.resized) for name, load in named.items()]
    if jpegs:
        chosen.append(Contender(LIBJPEG, contenders.bare_libjpeg))
    return chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_workers_argument(parser)
    parser.add_argument(
        "--peers", action="store_true", help="loaders of other projects, too: benchmarks/requirements-peers.txt"
    )
    parser.add_argument("--only", metavar="NAME", help="workloads whose names contain this; nothing is written")
    add_common_arguments(parser)


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """Several numbers of workers, which are compared."""
    parser.add_argument(
        "--workers",
        type=_several,
        default=default_workers(cores()),
        metavar="1,2",
        help="threads or processes of each contender; default: powers of two up to the cores, and the cores",
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of all benchmarks of loading."""
    parser.add_argument("--rounds", type=positive, default=5, help="epochs measured, after one to warm up")
    parser.add_argument("--quick", action="store_true", help="a fifth of the images; nothing is written")
    parser.add_argument("--folder", type=Path, help="keep the images here for the next run; default: a temporary one")
    add_page_arguments(parser)


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    """The folder of --folder, or a temporary one."""
    with ExitStack() as stack:
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-loader-")))
        yield folder.resolve()


def default_workers(most: int) -> list[int]:
    """Powers of two up to the most, and the most."""
    return sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most})


def _several(text: str) -> list[int]:
    return sorted({positive(part) for part in text.split(",")})


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def main(a: argparse.Namespace) -> None:
    if a.peers:
        peers.check_installed(peers.REQUIREMENTS)
    chosen = [workload for workload in LOADED if (a.only or "") in workload.name]
    if not chosen:
        raise FormworkError(f"--only {a.only}: no such workload. {did_you_mean(a.only, [w.name for w in LOADED])}")
    measured: list[Measured] = []
    with folder_of(a.folder) as folder:
        for workload in chosen:
            images = workload.kind.count // (QUICK if a.quick else 1)
            prepared = prepare(workload, folder, images)
            measured.append(measure(prepared, a.workers, a.rounds, a.peers, once=not measured))
            print(f"{workload.name}:\n{rates_table(measured[-1])}", file=sys.stderr)  # there, if a later one fails
    if a.quick or a.only:
        print(body(measured, a.rounds, picture=None))
        return
    picture = a.page.with_name("bench_loader.svg")
    draw(picture, measured)
    draw(a.page.with_name("bench_photos.svg"), [m for m in measured if m.workload in ON_README])
    workers = ",".join(map(str, a.workers))
    command = f"python benchmarks/run.py loader --workers {workers} --rounds {a.rounds}{' --peers' if a.peers else ''}"
    results = {"workloads": {m.workload: m.results() for m in measured}}
    publish("loader", command, body(measured, a.rounds, picture.name), results, a.page, a.results)


def measure(prepared: Prepared, workers: Sequence[int], rounds: int, with_peers: bool, once: bool) -> Measured:
    """Measure one workload.

    Args:
        workers: one set of rates for each; the time to the first batch is that with the last.
        once: measure also what takes long and is the same for each workload: the first batch of stock FFCV, and that of
            FFCVDataLoader with nothing compiled yet.
    """
    chosen = contenders_of(prepared.workload, with_peers)
    layouts: dict[str, str] = {}
    rates = {}
    for count in workers:
        with ExitStack() as stack:
            processes = {c.name: stack.enter_context(_process(c, prepared, count)) for c in chosen}

            def epoch(name: str, process: LoaderProcess) -> int:
                done = process.epoch()
                layouts[name] = _checked(name, done, prepared)
                return done.images

            print(f"{prepared.workload.name}, {of_workers(count)}: {len(chosen)} contenders", file=sys.stderr)
            rates[count] = alternate(
                {name: partial(epoch, name, process) for name, process in processes.items()}, rounds
            )
    first: dict[str, list[float]] = {}
    for number in range(FIRST_ROUNDS):
        for contender in chosen:
            if contender.name == LIBJPEG or (contender.name == STOCK and not (once and number == 0)):
                continue
            with _process(contender, prepared, workers[-1]) as process:
                first.setdefault(contender.name, []).append(_normalised(contender.name, process.first()))
    uncompiled = compiling = None
    if once:
        ours = next(contender for contender in chosen if contender.name == FFCV)
        uncompiled, compiling = (
            _first_without_kernels(ours, prepared, workers[-1], way) for way in ({SWITCH: ""}, WAIT)
        )
    return Measured(prepared.workload.name, rates, layouts, first, uncompiled, prepared.converted, compiling)


def _first_without_kernels(
    contender: Contender, prepared: Prepared, workers: int, environment: Mapping[str, str]
) -> float:
    """Seconds to the first batch where nothing is compiled yet."""
    with tempfile.TemporaryDirectory() as cache:
        empty = {"NUMBA_CACHE_DIR": cache, **environment}
        with _process(contender, prepared, workers, empty) as process:
            return process.first().seconds


def _process(
    contender: Contender, prepared: Prepared, workers: int, environment: Mapping[str, str] | None = None
) -> LoaderProcess:
    """environment: variables; by default, that what is measured waits until it is compiled."""
    environment = WAIT if environment is None else environment
    return LoaderProcess(contender.name, contender.load, prepared.job(workers, contender.resized), environment)


def _checked(name: str, epoch: Epoch, prepared: Prepared) -> str:
    """The layout of its batches, which must be of the kind that all contenders give."""
    kind = prepared.workload.kind
    wanted = ([kind.batch_size, 3, kind.side, kind.side], "float32")
    if name != LIBJPEG and (epoch.shape, epoch.dtype) != wanted:
        raise FormworkError(
            f"{name} gives {epoch.dtype} {epoch.shape} on {prepared.workload.name}, and not {wanted[1]} {wanted[0]}: "
            "its images/s cannot be compared."
        )
    return epoch.layout


def _normalised(name: str, first: First) -> float:
    """Its seconds. Images have black and white in them, or nearly, which normalisation moves to these values."""
    low, high = ((value - contenders.MEAN[0]) / contenders.STD[0] for value in (0, 1))
    if not (1.3 * low < first.lowest < 0.5 * low and 0.5 * high < first.highest < 1.3 * high):
        raise FormworkError(
            f"{name} gives values from {first.lowest:.2f} to {first.highest:.2f}: its images are not normalised as "
            "those of the others, and its images/s cannot be compared."
        )
    return first.seconds
