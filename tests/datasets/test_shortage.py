"""Lack of memory, files or a disk stops a run, in one line that names the file: it says nothing of the image."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import formwork
from formwork.datasets import verify, verify_file
from formwork.datasets.candidates import find_candidates
from formwork.datasets.verify_file import BadFile, File, ImageInfo, verify_files
from formwork.errors import DatasetError
from tests.make_images import make_dataset

SIDE = 4000  # pixels: an image takes 64 MB in Pillow
KINDS = {
    "PNG": {},
    "JPEG": {"progressive": True},
    "WEBP": {"lossless": True, "method": 0},
    "JPEG2000": {},
    "TIFF": {"compression": "tiff_lzw"},
    "GIF": {},
}
RUN = """
import resource, sys
from pathlib import Path
from formwork.datasets.link import link
from formwork.datasets.verify_file import File, verify_files
from formwork.errors import run
from formwork.params import Params

root = Path(sys.argv[1])
verify_files(f"{root}/small", [File("cat/000.png"), File("cat/001.jpeg")])  # imports what later needs memory, too
if sys.argv[2] == "memory":
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20),) * 2)
elif sys.argv[2] == "files":
    free = open("/dev/null").fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free,) * 2)
params = Params.model_validate({"data": {"name": "mine", "on_bad_image": "skip", "num_workers": 0}})
run(lambda: link(params, root / "raw", root / "interim", root / "bad.csv"))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


def make_root(folder: Path) -> Path:
    """The folder, with small images and a damaged one in `raw`, and two in `small`."""
    make_dataset(folder / "small", ["cat"], per_class=1)
    make_dataset(folder / "raw", ["cat", "dog"], per_class=6)
    (folder / "raw/cat/004.png").write_bytes((folder / "raw/cat/000.png").read_bytes()[:100])
    Image.new("RGB", (8, 8)).save(folder / "small/cat/001.jpeg")
    return folder


def add_large_image(root: Path, kind: str) -> Path:
    path = root / "raw/cat/large.png"
    Image.new("P" if kind == "GIF" else "RGB", (SIDE, SIDE)).save(path, kind, **KINDS[kind])
    return path


def link(root: Path, lack: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(formwork.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, str(root), lack]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit the memory of a process")
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_memory_does_not_suffice_for_stops_the_run_and_is_sound_in_the_next(
    root: Path, kind: str
) -> None:
    path = add_large_image(root, kind)
    short = link(root, "memory")

    assert short.stderr.splitlines()[-1:] == [
        f"ERROR: {path}: not enough memory to decode {SIDE} x {SIDE} pixels. Lower data.num_workers in "
        "params.yaml, or give the process more memory."
    ]
    assert short.returncode == 1
    assert not (root / "bad.csv").exists()
    assert not list(root.glob("interim/*.csv"))

    done = link(root, "nothing")
    assert done.returncode == 0, done.stderr
    assert [
        line for line in (root / "bad.csv").read_text().splitlines() if "large" in line and "left out" in line
    ] == []
    assert any("large.png" in manifest.read_text() for manifest in root.glob("interim/*.csv"))


@pytest.mark.slow
def test_too_few_files_stop_the_run(root: Path) -> None:
    done = link(root, "files")

    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert "Too many open files" in line
    assert "Traceback" not in done.stderr
    assert not (root / "bad.csv").exists()


OF_THE_RUN = ("EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "ENOTCONN", "EAGAIN", "EBUSY")


@pytest.mark.parametrize("name", OF_THE_RUN)
@pytest.mark.parametrize("call", ["open", "read"])
def test_an_error_of_the_system_is_none_of_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: str
) -> None:
    number = getattr(errno, name)
    original = getattr(os, call)

    def fail(*arguments: object) -> object:
        if call == "read" or "001" in str(arguments[0]):
            raise OSError(number, os.strerror(number))
        return original(*arguments)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DatasetError) as raised:
        verify_files(str(root / "raw"), [File("cat/001.png")])

    assert str(raised.value).startswith(f"{root}/raw/cat/001.png: {os.strerror(number)}.")


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "ELOOP", "EISDIR", "ENXIO"])
def test_an_error_of_the_file_is_none_of_the_run(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*arguments: object) -> object:
        raise OSError(getattr(errno, name), "it is so")

    monkeypatch.setattr(os, "open", fail)

    assert isinstance(verify_files(str(root / "raw"), [File("cat/001.png")])[0], BadFile)
    monkeypatch.undo()
    assert isinstance(verify_files(str(root / "raw"), [File("cat/001.png")])[0], ImageInfo)


@pytest.mark.slow
def test_a_process_that_lacks_memory_says_so_as_this_one_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of several processes comes to a file that it has no memory for."""
    monkeypatch.setattr(verify, "CHUNK_FILES", 1)
    monkeypatch.setattr(verify, "verify_files", lacking)
    paths = find_candidates(root / "raw").paths
    with pytest.raises(DatasetError, match=r"cat/005.png: not enough memory to read it. Lower data.num_workers"):
        verify.verify(root / "raw", paths, 2, root / "cache.sqlite3")

    monkeypatch.undo()
    found = verify.verify(root / "raw", paths, 2, root / "cache.sqlite3")
    assert [paths[position] for position in found.bad] == ["cat/004.png"]


def lacking(folder: str, files: list[File]) -> list:
    """As verify_files, in a process that has no memory for one file."""
    if files[0].path == "cat/005.png":
        verify_file._read = out_of_memory
    return verify_files(folder, files)


def out_of_memory(root: str, file: File) -> tuple[bytes, os.stat_result]:
    raise MemoryError
