"""Nothing hangs: errors reach the training process with their own message, and leaving early cleans up."""

import errno
import gc
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numba
import psutil
import pytest
import torch
from PIL.ImageFile import ImageFile

from formwork.beton.read import open_beton
from formwork.errors import BetonError, DatasetError
from formwork.images.manifest import read_manifest
from formwork.limits import ADVICE
from formwork.loading import ffcv_loader
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from tests.loading.conftest import make_config
from tests.processes import TIMEOUT

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("soon")]


@pytest.fixture
def soon():
    """Fail a test that hangs."""

    def late(signum, frame):
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(TIMEOUT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, which must end within the time of a test."""
    environment = os.environ | {"PYTHONPATH": str(Path(ffcv_loader.__file__).parents[2])}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("FFCVDataLoader")]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("verify", "fault"), [("never", "its JPEG data is damaged"), ("first", "it does not have the checksum")]
)
def test_a_damaged_jpeg_is_an_error_that_names_the_sample(make_split, verify, fault):
    split = make_split(write_mode="jpg")
    beton = open_beton(split.beton)
    overwrite(split.beton, int(beton.offsets[40] + beton.sizes[40] // 2), b"\0" * int(beton.sizes[40] // 2))
    name = split.manifest.rows[40].path
    batches = iter(FFCVDataLoader(split, make_config(batch_size=16, verify=verify)))
    assert [len(next(batches)[1]) for _ in range(2)] == [16, 16]
    with pytest.raises(BetonError) as raised:
        next(batches)
    assert f"sample 40 ({name}) cannot be used: {fault}" in str(raised.value)
    assert not loader_threads()


def test_an_image_that_memory_does_not_suffice_for_is_not_called_damaged(make_split, monkeypatch):
    split = make_split()

    def load(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile, "load", load)
    row = split.manifest.rows[0]
    with pytest.raises(DatasetError) as raised:
        next(iter(PyTorchDataLoader(split, make_config(num_workers=0, order="sequential"))))
    assert f"{row.path}: not enough memory to decode {row.width} x {row.height} pixels. Lower" in str(raised.value)


def test_a_lack_of_open_files_says_nothing_of_an_image(split):
    next(iter(PyTorchDataLoader(split, make_config(num_workers=0))))  # what is loaded once needs files, too
    batches = iter(PyTorchDataLoader(split, make_config(num_workers=0, order="sequential")))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull) as free:
        number = free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        with pytest.raises(DatasetError) as raised:
            next(batches)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    path = split.manifest.paths[0]
    assert f"{path}: Too many open files. Raise the limit of open files (`ulimit -n 4096`)" in str(raised.value)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_beton_cut_short_while_it_is_read_is_an_error(make_split, os_cache):
    split = make_split()
    loader = FFCVDataLoader(split, make_config(os_cache=os_cache))
    os.truncate(split.beton, split.beton.stat().st_size // 2)
    with pytest.raises(BetonError, match="was changed while it was in use"):
        list(loader)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_beton_replaced_while_it_is_read_changes_nothing(make_split, split, os_cache):
    mine = make_split()
    loader = FFCVDataLoader(mine, make_config([{"Resize": {}}], os_cache=os_cache))
    before = [images.clone() for images, _ in loader]
    replacement = mine.beton.with_name("other")
    replacement.write_bytes(b"\0" * mine.beton.stat().st_size)
    replacement.replace(mine.beton)
    assert all(torch.equal(a, b) for a, (b, _) in zip(before, loader, strict=True))


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_beton_written_over_while_it_is_read_is_an_error(make_split, os_cache):
    # As `cp other.beton train.beton` does it: the same file, with other images, raw ones, so that none looks damaged.
    split = make_split()
    batches = iter(FFCVDataLoader(split, make_config(batch_size=4, batches_ahead=1, os_cache=os_cache)))
    next(batches)
    split.beton.write_bytes(split.beton.read_bytes()[::-1])
    with pytest.raises(BetonError, match="was changed while it was in use"):
        list(batches)
    assert not loader_threads()


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), MemoryError("no room"), KeyboardInterrupt()])
def test_any_exception_of_a_thread_reaches_the_consumer(split, monkeypatch, error):
    loader = FFCVDataLoader(split, make_config())
    monkeypatch.setattr(loader.made.batch_code.module, "load", lambda *arguments: (_ for _ in ()).throw(error))
    with pytest.raises(type(error)) as raised:
        list(loader)
    assert raised.value is error
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_read_is_an_error_that_names_it(dataset, split, tmp_path, workers):
    raw = tmp_path / "data/raw/odd"
    shutil.copytree(dataset / "raw/odd", raw)
    shutil.copytree(dataset / "interim/odd", tmp_path / "data/interim/odd", symlinks=True)
    manifest = read_manifest(tmp_path / "data/interim/odd/train.csv")
    (raw / manifest.rows[20].path).write_bytes(b"no image")
    with pytest.raises(DatasetError) as raised:
        list(PyTorchDataLoader(SplitFiles("train", manifest, split.beton, raw), make_config(num_workers=workers)))
    assert str(raised.value).startswith("Sample 20, ")
    assert Path(manifest.rows[20].path).name in str(raised.value)


def test_a_killed_worker_process_is_an_error(split, tmp_path):
    # In a process of its own: PyTorch raises its error wherever the program is when it hears of the death.
    script = """
import pickle, sys
import psutil
from formwork.errors import run
from formwork.loading.pytorch_loader import PyTorchDataLoader
with open(sys.argv[1], "rb") as file:
    batches = iter(PyTorchDataLoader(*pickle.load(file)))
def load():
    next(batches)
    psutil.Process().children()[0].kill()
    list(batches)
run(load)
"""
    (tmp_path / "arguments").write_bytes(pickle.dumps((split, make_config(batch_size=1, num_workers=1))))
    done = python(script, str(tmp_path / "arguments"))
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: A worker process of the PyTorch DataLoader was killed (")
    assert done.stderr.count("\n") == 1


def load_with(files: int, split: SplitFiles, tmp_path: Path, **changes) -> str:
    """What a command says that loads a split with the PyTorch loader and may have so many files open."""
    script = f"""
import pickle, resource, sys
from formwork.errors import run
from formwork.loading.pytorch_loader import PyTorchDataLoader
with open(sys.argv[1], "rb") as file:
    loader = PyTorchDataLoader(*pickle.load(file))
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
run(lambda: print(len(list(loader))))
"""
    (tmp_path / "arguments").write_bytes(pickle.dumps((split, make_config(**changes))))
    done = python(script, str(tmp_path / "arguments"))
    assert done.returncode == (0 if done.stdout else 1)
    return done.stdout + done.stderr


@pytest.mark.parametrize("files", [14, 32])
def test_too_few_open_files_for_its_workers_are_one_line_however_few(split, tmp_path, files):
    said = load_with(files, split, tmp_path, num_workers=4, batch_size=2)
    assert said.count("\n") == 1
    assert said == "35\n" or (said.startswith("ERROR: ") and said.endswith(f"{ADVICE[errno.EMFILE]}\n"))


def test_workers_that_cannot_be_started_are_counted(split, tmp_path):
    said = load_with(64, split, tmp_path, num_workers=64)
    assert said.startswith(
        "ERROR: 64 worker processes of the PyTorch DataLoader cannot be started: Too many open files."
    )


def test_open_files_are_raised_as_far_as_the_system_lets_them(split, tmp_path):
    script = """
import pickle, resource, sys
from formwork.loading.pytorch_loader import PyTorchDataLoader
resource.setrlimit(resource.RLIMIT_NOFILE, (16, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with open(sys.argv[1], "rb") as file:
    print(len(list(PyTorchDataLoader(*pickle.load(file)))))
"""
    (tmp_path / "arguments").write_bytes(pickle.dumps((split, make_config(num_workers=4, batch_size=2))))
    assert python(script, str(tmp_path / "arguments")).stdout == "35\n"


@pytest.mark.parametrize(
    ("loader", "epochs", "workers"), [(FFCVDataLoader, 200, 2), (PyTorchDataLoader, 200, 0), (PyTorchDataLoader, 60, 2)]
)
def test_leaving_an_epoch_early_leaves_nothing_behind(split, loader, epochs, workers):
    def leave(times: int) -> tuple[int, int, int, int]:
        for _ in range(times):
            for _ in batches:
                break
        gc.collect()
        process = psutil.Process()
        return process.num_threads(), process.num_fds(), len(process.children()), process.memory_info().rss

    batches = loader(split, make_config(batch_size=4, num_workers=workers))
    threads, files, children, memory = leave(20)
    later = leave(epochs)
    assert later[0] <= threads
    assert later[1] <= files + 20  # tensors on their way between processes hold some, for a while
    assert later[2] <= children
    assert later[3] - memory < 8e6  # bytes: an epoch's buffers alone are 20 times 4 x 20 x 20 x 3 float32
    assert not loader_threads()


def test_two_iterations_of_one_loader_do_not_disturb_each_other(split):
    loader = FFCVDataLoader(split, make_config())
    alone = [labels for _, labels in loader]
    together = [(a, b) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    assert all(torch.equal(a, x) and torch.equal(b, x) for (a, b), x in zip(together, alone, strict=True))


FORK = """
import os, pickle, sys
import torch
from formwork.loading.ffcv_loader import FFCVDataLoader
with open(sys.argv[1], "rb") as file:
    split, options = pickle.load(file)
expected = torch.cat([images for images, _ in FFCVDataLoader(split, options)])
loader = FFCVDataLoader(split, options)
begun = iter(loader)
first, _ = next(begun)
if held := len(sys.argv) > 2:
    loader.made.buffers.lock.acquire()  # as a thread may at the moment of the fork
for _ in range(3):
    child = os.fork()
    if child == 0:
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, "batches": 0})
        same = torch.equal(torch.cat([images for images, _ in loader]), expected)
        del begun
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
if held:
    loader.made.buffers.lock.release()
rest = [images for images, _ in begun]
assert torch.equal(torch.cat([first, *rest]), expected)
"""


@pytest.mark.parametrize("more", [[], ["held"]])
def test_a_forked_child_loads_on_its_own_and_its_parent_goes_on(split, tmp_path, more):
    (tmp_path / "arguments").write_bytes(pickle.dumps((split, make_config(batches_ahead=1))))
    done = python(FORK, str(tmp_path / "arguments"), *more)
    assert done.returncode == 0, done.stderr


def _count(split: SplitFiles, options, total) -> None:
    total.value = sum(len(labels) for _, labels in FFCVDataLoader(split, options))


def test_a_spawned_process_loads(split):
    context = multiprocessing.get_context("spawn")
    total = context.Value("i", 0)
    process = context.Process(target=_count, args=(split, make_config(), total))
    process.start()
    process.join(TIMEOUT)
    assert (process.exitcode, total.value) == (0, 70)


def test_the_users_thread_counts_stay_as_they_were(split):
    before = torch.get_num_threads(), numba.get_num_threads()
    for _ in FFCVDataLoader(split, make_config(num_workers=7)):
        pass
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


def test_importing_ffcv_leaves_the_thread_counts_alone():
    # In an interpreter of its own, because it is the first import that counts.
    script = """
import torch
torch.set_num_threads(3)
import formwork.loading.ffcv.import_ffcv
print(torch.get_num_threads())
"""
    assert python(script).stdout == "3\n"
