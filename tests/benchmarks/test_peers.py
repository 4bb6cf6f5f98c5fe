"""Loaders of other projects, where they are installed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.loader_process import Load, LoaderProcess
from benchmarks.peers import PEERS, PEERS_DECODED, REQUIREMENTS, check_installed
from benchmarks.workloads import Prepared
from formwork.errors import FormworkError
from tests.benchmarks.conftest import BATCH

MAIN = REQUIREMENTS.parents[1] / "requirements.txt"


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([^\s;]+)", path.read_text(), re.MULTILINE))


def test_each_requirement_is_pinned_and_says_why() -> None:
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]

    assert all(re.fullmatch(r"[\w-]+==[\w.]+ +# \S.*", line) for line in lines)
    assert pins(REQUIREMENTS).keys().isdisjoint(pins(MAIN))  # nothing of the environment changes


def installed() -> bool:
    try:
        check_installed(REQUIREMENTS)
    except FormworkError:
        return False
    return True


@pytest.mark.skipif(not installed(), reason="benchmarks/requirements-peers.txt is not installed")
@pytest.mark.parametrize(("name", "load"), (PEERS | PEERS_DECODED).items())
def test_a_peer_gives_normalised_batches(name: str, load: Load, prepared: Callable[[str], Prepared]) -> None:
    with LoaderProcess(name, load, prepared("photo").job(workers=1, resized=True)) as process:
        first, epoch = process.first(), process.epoch()

    assert epoch.images % BATCH == 0
    assert epoch.images >= BATCH
    assert (epoch.shape, epoch.dtype) == ([BATCH, 3, 224, 224], "float32")
    assert -2.2 < first.lowest < -1
    assert 1 < first.highest < 2.7
