"""Runs cases in a child process, so that one that crashes or hangs is counted, and the next ones run all the same."""

import faulthandler
import multiprocessing
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import NamedTuple

from tqdm import tqdm

START_SECONDS = 600  # for a child to import, and to compile kernels that are in no cache
HANG_SECONDS = 30  # for one case, which takes milliseconds


def nothing() -> None:
    """No warm-up."""


class Target(NamedTuple):
    """What is fuzzed. Both functions are at the top of a module: a child process imports them.

    Attributes:
        case: makes an input from a seed, uses it, and returns what came of it in a few words, such as "refused"; raises
            any exception where that is wrong.
        warm_up: does once whatever takes long the first time.
    """

    case: Callable[[int], str]
    warm_up: Callable[[], None] = nothing


@dataclass
class Result:
    """Counts by outcome, reasons by seed of the cases that failed, and how long all took."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.outcomes.values()) + len(self.failures)


def run(target: Target, seeds: range, seconds: float | None = None, hang_seconds: float = HANG_SECONDS) -> Result:
    """Run the case of each seed, one after the other.

    Args:
        seconds: begin no case after so long; None: run all.
        hang_seconds: a case that takes longer is a failure.
    """
    result, start = Result(), time.monotonic()
    with (
        tqdm(total=len(seeds), unit=" inputs", disable=None) as bar,
        tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder,
    ):
        while seeds and (seconds is None or time.monotonic() - start < seconds):
            seeds = seeds[_run_until_a_crash(target, seeds, start, seconds, hang_seconds, result, bar, folder) :]
    result.seconds = time.monotonic() - start
    return result


def report(name: str, result: Result) -> str:
    """A table of the outcomes, and a line for each failure with the command that repeats it."""
    lines = [f"{name}: {result.count} inputs in {result.seconds:.0f} s, {len(result.failures)} failures"]
    lines += [f"{count:>10}  {outcome}" for outcome, count in sorted(result.outcomes.items())]
    for seed, reason in sorted(result.failures.items()):
        lines.append(f'FAILURE: {reason}. Repeat it: make fuzz ARGS="{name} --count 1 --seed {seed}"')
    return "\n".join(lines)


def _run_until_a_crash(
    target: Target,
    seeds: range,
    start: float,
    seconds: float | None,
    hang_seconds: float,
    result: Result,
    bar: tqdm,
    folder: str,
) -> int:
    """Run cases in one child process, and add them to `result`.

    Args:
        folder: for temporary files of the child, which may be killed before it can remove them.

    Returns:
        How many seeds are done, with the one that crashed or hung.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(target, seeds, sender, folder), daemon=True)
    child.start()
    sender.close()  # here: then a child that dies ends the connection
    try:
        if not receiver.poll(START_SECONDS):
            raise TimeoutError(f"the child process did not begin within {START_SECONDS} s")
        receiver.recv()
        for done, seed in enumerate(seeds):
            if seconds is not None and time.monotonic() - start >= seconds:
                return len(seeds)
            if not receiver.poll(hang_seconds):
                result.failures[seed] = f"hangs: no result after {hang_seconds:g} s"
                return done + 1
            try:
                failed, words = receiver.recv()
            except EOFError:
                child.join()
                result.failures[seed] = f"crashes: {_end(child.exitcode)}"
                return done + 1
            if failed:
                result.failures[seed] = words
            else:
                result.outcomes[words] += 1
            bar.update()
        return len(seeds)
    finally:
        child.kill()
        child.join()
        receiver.close()


def _work(target: Target, seeds: range, sender: Connection, folder: str) -> None:
    tempfile.tempdir = folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    faulthandler.enable()  # says on stderr which line of Python a crash happened in
    target.warm_up()
    sender.send(None)
    for seed in seeds:
        try:
            sender.send((False, target.case(seed)))
        except Exception as error:  # whatever a case raises is its failure
            sender.send((True, f"{type(error).__name__}: {error}"))


def _end(code: int | None) -> str:
    return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit status {code}"
