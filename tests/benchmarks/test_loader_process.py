"""A contender in a process of its own answers, and is gone afterwards, whatever happens."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import contenders, loader_process
from benchmarks.loader_process import Epoch, LoaderProcess
from benchmarks.workloads import Prepared
from formwork.errors import FormworkError
from tests.benchmarks.conftest import BATCH, IMAGES
from tests.processes import wait_for

pytestmark = pytest.mark.slow


def test_it_answers_with_first_batches_and_epochs(prepared: Callable[[str], Prepared]) -> None:
    job = prepared("photo").job(workers=1, timesteps=2)
    with LoaderProcess("ours", contenders.formwork_ffcv, job) as running:
        first = running.first()
        epochs = [running.epoch(), running.epoch()]

    size = BATCH * 3 * 224 * 224 * 4
    assert epochs == 2 * [Epoch(IMAGES // BATCH * BATCH, [BATCH, 2, 3, 224, 224], "float32", "channels_last", size)]
    assert first.seconds > 0
    assert first.lowest < -1
    assert first.highest > 1
    assert running.process.returncode == 0


def test_what_it_said_last_is_in_the_error(prepared: Callable[[str], Prepared], tmp_path: Path) -> None:
    job = replace(prepared("tiny").job(workers=1), beton=tmp_path / "none.beton")
    with (
        pytest.raises(FormworkError, match=r"(?s)The process of ours ended\. It said last:.*none\.beton is missing"),
        LoaderProcess("ours", contenders.formwork_ffcv, job) as running,
    ):
        running.epoch()

    assert running.process.returncode == 1


def test_a_process_that_does_not_answer_is_killed(
    prepared: Callable[[str], Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_process, "ANSWER_SECONDS", 0)
    with (
        pytest.raises(FormworkError, match="slow did not answer for 0 s"),
        LoaderProcess("slow", contenders.formwork_ffcv, prepared("tiny").job(workers=1)) as running,
    ):
        running.epoch()


def test_an_error_outside_ends_it_with_its_workers(prepared: Callable[[str], Prepared]) -> None:
    running = LoaderProcess("PIL", contenders.pytorch_pil, prepared("tiny").job(workers=2))

    def fail() -> None:
        with running:
            running.epoch()
            assert len(alive(running.process.pid)) >= 3  # its workers stay for the next epoch
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert running.process.returncode == -9
    # Killed, but the system takes a moment to end the workers.
    assert wait_for(lambda: not alive(running.process.pid))


def alive(group: int) -> list[int]:
    """Processes of a group; not those that ended and that nobody has asked about yet."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ends meanwhile
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(file.parent.name))
    return found
