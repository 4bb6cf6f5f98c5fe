"""What cannot be compiled is done by plain code, with one warning."""

import numpy as np
import pytest
from numba import njit

from formwork.kernels import compile as compilation
from formwork.kernels.compile import either, kernel
from formwork.loading import batch_kernels, plain_batches
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from tests.loading.conftest import make_config
from tests.loading.test_loaders import epoch, same


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that could compile until now."""
    monkeypatch.delenv(compilation.SWITCH, raising=False)
    monkeypatch.setattr(compilation, "_state", compilation._State())


@njit
def broken(*values):
    return values[0].nothing_that_numba_knows


def total(values: np.ndarray) -> int:
    return int(values.sum())


def test_a_kernel_that_does_not_compile_is_replaced_after_one_warning() -> None:
    @kernel
    def compiled(values):
        return -1

    good, bad = either(lambda: compiled, total), either(lambda: broken, total)
    assert good(np.arange(5)) == -1
    with pytest.warns(
        UserWarning, match=r"Kernels are not compiled: TypingError: .*nothing_that_numba_knows"
    ) as warned:
        assert bad(np.arange(5)) == 10
    assert len(warned) == 1
    assert "\n" not in str(warned[0].message)
    assert compilation.is_plain()
    assert bad(np.arange(5)) == good(np.arange(5)) == 10


def test_while_another_process_compiles_plain_forms_are_taken_and_this_one_compiles_nothing() -> None:
    class Compiler:
        """A process."""

    compiler = Compiler()
    compilation.meanwhile.add(compiler)
    assert either(lambda: broken, total)(np.arange(5)) == 10
    assert not compilation.is_plain()
    del compiler  # and a loader that nobody needs any more takes it along
    assert not compilation.meanwhile


def test_a_kernel_that_cannot_be_imported_is_replaced() -> None:
    def missing():
        raise ImportError("no intrinsic")

    with pytest.warns(UserWarning, match="Kernels are not compiled: ImportError: no intrinsic"):
        assert either(missing, total)(np.arange(5)) == 10


def test_lack_of_memory_is_an_error() -> None:
    def greedy(values):
        raise MemoryError

    with pytest.raises(MemoryError):
        either(lambda: greedy, total)(np.arange(5))
    assert not compilation.is_plain()


def test_a_loader_whose_kernel_does_not_compile_gives_the_same_batches(
    split: SplitFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(order="random")
    expected = epoch(FFCVDataLoader(split, config))
    monkeypatch.setattr(batch_kernels, "_load", broken)

    with pytest.warns(UserWarning, match="Kernels are not compiled: TypingError: "):
        loader = FFCVDataLoader(split, config)

    assert loader.made.batch_code.module is plain_batches
    assert same(epoch(loader), expected)


def test_plain_is_chosen_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation.SWITCH, "plain")
    monkeypatch.setattr(compilation, "_state", compilation._State())

    assert compilation.is_plain()
    assert either(lambda: broken, total) is total


def test_another_value_of_the_switch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation.SWITCH, "fast")

    with pytest.warns(UserWarning, match="FORMWORK_KERNELS=fast means nothing: use plain or compiled"):
        assert not compilation._State().plain
