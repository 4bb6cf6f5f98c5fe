"""The list of checks, and how each is run: one that raises or does not end stops no other."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from formwork.errors import FormworkError
from formwork.signals import Interrupted
from formwork.tools.doctor import data, environment, loading, merge, pipeline, resources
from formwork.tools.doctor.project import SPLITS, Project
from formwork.tools.doctor.verdict import NotChecked, Result, not_checked, problem

PACKAGE = Path(__file__).parents[2]
SECONDS = 60  # for one check, after which a disk or mount is taken not to answer
IMPORT_SECONDS = 120  # for those that import what takes seconds on a good day
FULL_SECONDS = 24 * 3600  # with --full


class Check(NamedTuple):
    name: str
    function: Callable[[Project], Result]
    seconds: float = SECONDS


def _of_splits(name: str, function: Callable[..., Result]) -> list[Check]:
    return [Check(f"{name} {split}", partial(function, split=split)) for split in SPLITS]


CHECKS: tuple[Check, ...] = (
    Check("python", environment.python),
    Check("packages", environment.packages),
    Check("params", data.params),
    Check("dvc", pipeline.repository),
    Check("raw images", data.raw),
    Check("raw files", data.raw_files),
    *_of_splits("manifest", data.manifest),
    Check("originals", data.originals),
    Check("page cache", resources.page_cache),  # before what reads the betons
    *_of_splits("beton", data.beton),
    Check("folders", resources.folders),
    Check("disk space", resources.space),
    Check("memory", resources.conversion),
    Check("caching", resources.caching),
    Check("merge", merge.merge),
    Check("dvc status", pipeline.status),
    Check("dvc remote", pipeline.remote),
    Check("ffcv", environment.ffcv, IMPORT_SECONDS),
    Check("gpu", environment.gpu, IMPORT_SECONDS),
    Check("imports", environment.imports, IMPORT_SECONDS),
    Check("trainer", environment.trainer, IMPORT_SECONDS),
    Check("batches", loading.batches, IMPORT_SECONDS),
    Check("loader", loading.loader, IMPORT_SECONDS),
    Check("kernels", loading.kernels, IMPORT_SECONDS),
    Check("workers", resources.workers, IMPORT_SECONDS),
    Check("results", loading.results),
    Check("interrupted runs", loading.interrupted),
)


def examine(project: Project, checks: Sequence[Check] = CHECKS) -> Iterator[tuple[str, Result]]:
    """The name and the result of each check. None ends the others, whatever it raises or waits for."""
    for check in checks:
        yield check.name, _guarded(check, project)


def _guarded(check: Check, project: Project) -> Result:
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(check.function(project))
        except BaseException as error:  # not swallowed: it is what this check has found
            future.set_exception(error)

    seconds = FULL_SECONDS if project.full else check.seconds
    Thread(target=work, name=check.name, daemon=True).start()
    try:
        return future.result(seconds)
    except NotChecked as error:
        return not_checked(error)
    except FormworkError as error:
        return problem(error)
    except (FutureTimeoutError, TimeoutError):  # one and the same from Python 3.11 on
        if not future.done():
            return problem(f"no answer within {seconds:g} s: a disk or mount that does not answer?")
        return problem(f"this check failed: {future.exception()}")
    except ModuleNotFoundError as error:
        return not_checked(f"{error.name} is not installed")
    except Interrupted:  # this thread, not the check
        raise
    except BaseException as error:
        place = [at for at in traceback.extract_tb(error.__traceback__) if str(PACKAGE) in at.filename][-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        return problem(f"this check failed: {type(error).__name__}: {error} ({where})")
