"""Where nothing is compiled yet, batches come at once, and kernels take over: the same bit for bit."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from formwork.kernels import cache
from formwork.kernels import compile as compilation
from formwork.kernels.kept_only import NotKept, is_kept_only
from formwork.loading import batch_kernels, plain_batches
from formwork.loading.base import SplitFiles
from formwork.loading.batch_code import BatchCode
from formwork.loading.ffcv_loader import FFCVDataLoader
from tests.kernels.test_cache import start
from tests.loading.conftest import CLASSES, TRAIN, make_config
from tests.loading.test_loaders import epoch, same
from tests.processes import TIMEOUT

START = """
from numba.core import event
from formwork.loading import batch_kernels
from formwork.loading.batch_code import BatchCode
from tests.loading.conftest import make_config
from tests.loading.one_kernel import compile_one
batch_kernels.compile_for = compile_one
with event.install_recorder("numba:compile") as compiled:
    code = BatchCode(make_config())
    print(code.module.__name__)
    code.wait()
    print(code.module.__name__)
print(len(compiled.buffer))
"""
PLAIN, KERNELS = plain_batches.__name__, batch_kernels.__name__


@pytest.mark.slow
def test_another_process_compiles_while_plain_code_makes_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(compilation.SWITCH, raising=False)
    for expected in ([PLAIN, KERNELS, "0"], [KERNELS, KERNELS, "0"]):
        output, said = start(START, tmp_path).communicate(timeout=TIMEOUT)
        assert (output.split(), said) == (expected, "")


@pytest.mark.slow
def test_this_process_compiles_where_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation.SWITCH, "compiled")
    output, said = start(START, tmp_path).communicate(timeout=TIMEOUT)
    *modules, compiled = output.split()
    assert (modules, said) == ([KERNELS, KERNELS], "")
    assert int(compiled) > 0


class Compiler:
    """In place of a process that takes long."""

    running = True

    def __init__(self, *arguments: object):
        pass


@pytest.fixture
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaders find no kernel until they may compile, and another process is there to do it."""
    compile_for = batch_kernels.compile_for

    def compile_if_allowed(*arguments: object) -> None:
        if is_kept_only():
            raise NotKept
        compile_for(*arguments)

    monkeypatch.delenv(compilation.SWITCH, raising=False)
    monkeypatch.setattr(batch_kernels, "compile_for", compile_if_allowed)
    monkeypatch.setattr("formwork.loading.compiler_process.CompilerProcess", Compiler)


def until_second(batches: Iterable, then: Callable[[], None]) -> Iterator:
    """The same, with a call before the second."""
    for number, batch in enumerate(batches):
        if number == 1:
            then()
        yield batch


@pytest.mark.parametrize(
    "options",
    [
        make_config(batch_size=5),
        make_config([*TRAIN, {"RandomSolarize": {"threshold": 99}}, {"Mixup": {}}], batch_size=6, class_names=CLASSES),
    ],
    ids=["one pass", "mixed"],
)
@pytest.mark.usefixtures("nothing_compiled")
def test_kernels_take_over_within_an_epoch(split: SplitFiles, options, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FFCVDataLoader(split, options)
    assert loader.made.batch_code.module is plain_batches
    plain = epoch(loader)
    loader.set_epoch(0)
    mixed = epoch(until_second(loader, lambda: monkeypatch.setattr(Compiler, "running", False)))
    assert loader.made.batch_code.module is batch_kernels
    loader.set_epoch(0)
    assert same(mixed, plain)
    assert same(epoch(loader), plain)


@pytest.mark.usefixtures("nothing_compiled")
def test_a_process_that_compiled_nothing_leaves_it_to_this_one(split: SplitFiles) -> None:
    code = BatchCode(make_config())
    assert code._compiler is not None
    code._compiler.running = False  # type: ignore[misc]
    assert code.module is batch_kernels


@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("reason", ["nothing is kept", "no process"])
def test_this_process_compiles_where_no_other_can(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def fail(*arguments: object) -> None:
        raise BlockingIOError("no process more")

    if reason == "no process":
        monkeypatch.setattr("formwork.loading.compiler_process.CompilerProcess", fail)
    else:
        monkeypatch.setattr(cache, "why_not_kept", lambda folder: "Permission denied")
    assert BatchCode(make_config()).module is batch_kernels


def test_a_kernel_that_is_not_kept_is_no_error_that_code_turns_into_another() -> None:
    assert not issubclass(NotKept, Exception)
