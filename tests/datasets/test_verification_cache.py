"""The verification cache: processes share it, killed writers leave it sound, and no changed file is found in it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import formwork
from formwork import code
from formwork.datasets import verification_cache
from formwork.datasets.candidates import find_candidates
from formwork.datasets.findings import SAME_FORMAT
from formwork.datasets.perceptual_hash import HASH_BYTES
from formwork.datasets.verification_cache import STATUS, VerificationCache
from formwork.datasets.verify import Verification, verify
from formwork.datasets.verify_file import RECORD, File, ImageInfo, verify_files
from formwork.errors import DatasetError
from formwork.images.pixels import CONVERTED, EXTENSIONS, GREY_16
from tests.make_images import make_dataset, noise
from tests.processes import TIMEOUT

SRC = Path(formwork.__file__).parents[1]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two classes of 60 images, which have been there for long."""
    raw = make_dataset(tmp_path / "raw", per_class=60, size=(4, 4), content="noise")
    for path in raw.rglob("*.png"):
        os.utime(path, ns=(10**18, 10**18))
    return raw


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite3"


HASH = bytes(range(1, HASH_BYTES)) + bytes(1)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few images occupy several processes."""
    monkeypatch.setattr("formwork.datasets.verify.CHUNK_FILES", 10)


def look(raw: Path, path: Path, workers: int = 1) -> Verification:
    return verify(raw, find_candidates(raw).paths, workers, path)


def entries(path: Path) -> list[str]:
    """The file of each entry in the cache, which must be sound."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (table,) = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        chunks = database.execute(f"SELECT paths FROM {table}").fetchall()
    return [os.fsdecode(name) for (names,) in chunks for name in names.split(b"\0")]


def test_what_is_cached_is_what_was_found(raw: Path, path: Path) -> None:
    first, second = look(raw, path), look(raw, path)

    assert (first.cached, second.cached) == (0, 120)
    assert (second.images == first.images).all()
    assert second.good.all()


def test_facts_survive_whatever_their_values_and_names(path: Path) -> None:
    facts = ImageInfo(
        2**40, 10**18, 2**64 - 1, 9, 5, "I;16", "TIFF", bytes(range(32)), (0, 1, 2**45, 2**50, 3, 4), HASH
    )
    records = np.array([facts] * 3, RECORD)
    names = ["a b/c,'d\"\n.png", "Ä/日本.png", os.fsdecode(b"c/\xe9\xff.png")]
    with closing(VerificationCache(path)) as known:
        known.put(names, records, time.time_ns())

    with closing(VerificationCache(path)) as known:
        found, there = known.look_up(["other", *names], np.array([facts] * 4, RECORD)[STATUS])
    assert there.tolist() == [False, True, True, True]
    assert (found[1:] == records).all()


@pytest.mark.parametrize("kind", ["mode", "format"])
def test_every_mode_and_format_fits_a_record(kind: str) -> None:
    names = {"mode": CONVERTED | GREY_16 | {"I", "F", "HSV", "LAB"}, "format": {*EXTENSIONS, *SAME_FORMAT}}[kind]
    assert {np.array(name, RECORD[kind]).item().decode() for name in names} == set(names)


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_a_changed_file_is_read_again(raw: Path, path: Path, change: str) -> None:
    image = raw / "cat/000.png"
    look(raw, path)
    data = image.read_bytes()
    if change == "size":
        image.write_bytes(data + b"\0")
    elif change == "inode":
        copy = raw / "copy"
        copy.write_bytes(data)
        copy.replace(image)
    os.utime(image, ns=(10**18, 10**18 + (change == "mtime")))

    assert look(raw, path).cached == 119


def test_other_code_forgets_everything(raw: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(raw, path)
    monkeypatch.setattr(verification_cache, "_version", lambda: "0123456789abcdef")

    assert look(raw, path).cached == 0
    assert look(raw, path).cached == 120
    assert len(entries(path)) == 120


def test_the_version_follows_the_code_and_pillow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = shutil.copytree(code.PACKAGE, tmp_path / "formwork")
    monkeypatch.setattr(code, "PACKAGE", copy)
    versions = [verification_cache._version()]
    for name in ("images/pixels.py", "images/png.py", "images/bare.py", "datasets/verify_file.py"):
        with (copy / name).open("a") as file:
            file.write("# changed")
        versions.append(verification_cache._version())
    monkeypatch.setattr("PIL.__version__", "0.0")
    versions.append(verification_cache._version())
    (copy / "datasets/link.py").write_text("# changed, and finds nothing in a file")

    assert len(set(versions)) == 6
    assert verification_cache._version() == versions[-1]


def test_removed_files_are_forgotten_when_they_are_most(raw: Path, path: Path) -> None:
    """A few stay, for whoever goes back to an older version of a dataset."""
    look(raw, path)
    images = sorted(raw.rglob("*.png"))
    for image in images[1:60:2]:
        image.unlink()
    look(raw, path)
    assert len(entries(path)) == 120
    for image in images[61:110]:
        image.unlink()

    assert look(raw, path).cached == 41

    assert sorted(entries(path)) == sorted(str(image.relative_to(raw)) for image in raw.rglob("*.png"))


def test_of_entries_for_a_file_the_last_one_stays(raw: Path, path: Path) -> None:
    for time_ns in (10**18, 10**18 + 1, 10**18 + 2):
        for each in raw.rglob("*.png"):
            os.utime(each, ns=(time_ns, time_ns))
        look(raw, path)

    assert sorted(entries(path)) == sorted(str(image.relative_to(raw)) for image in raw.rglob("*.png"))
    assert look(raw, path).cached == 120
    os.utime(raw / "cat/000.png", ns=(10**18, 10**18))
    assert look(raw, path).cached == 119


def test_runs_at_the_same_time_share_it(raw: Path, path: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from formwork.datasets.candidates import find_candidates; "
        "from formwork.datasets.verify import verify; raw = Path(sys.argv[1]); "
        "found = verify(raw, find_candidates(raw).paths, 1, Path(sys.argv[2])); "
        "print(found.good.sum())"
    )
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    runs = [
        subprocess.Popen([sys.executable, "-c", script, raw, path], env=environment, stdout=-1, stderr=-1, text=True)
        for _ in range(4)
    ]

    for process in runs:
        output, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, output) == (0, "120\n"), errors

    assert look(raw, path).cached == 120


KILLED_WHILE_WRITING = """
import sys, time
from pathlib import Path
import numpy as np
from formwork.datasets import verification_cache
from formwork.datasets.verify_file import RECORD, ImageInfo
known = verification_cache.VerificationCache(Path(sys.argv[1]))
verification_cache.ENTRIES_PER_CHUNK = 50
for number in range(10**9):
    facts = ImageInfo(1, 1, number, 1, 1, "L", "PNG", bytes(32), (number,) * 6, bytes(72))
    known.put([f"{number}.png"], np.array([facts], RECORD), time.time_ns())
    if number == 5000:
        print("writing", flush=True)
"""


def test_a_killed_writer_leaves_it_sound(path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, path]
    for _ in range(3):
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(SRC)}, stdout=-1, text=True) as process:
            assert process.stdout.readline() == "writing\n"
            process.send_signal(signal.SIGKILL)

        assert len(entries(path)) >= 5000
        with closing(VerificationCache(path)) as known:
            found, there = known.look_up(["7.png"], np.array([(1, 1, 7)], RECORD[STATUS]))
        assert there.all()
        assert found["moments"].tolist() == [[7] * 6]


def test_where_it_cannot_be_written_everything_is_read(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    found = look(raw, tmp_path / "file" / "cache.sqlite3")

    assert (found.cached, found.good.sum()) == (0, 120)
    assert "cache.sqlite3 cannot be used" in capsys.readouterr().out


def test_a_cache_that_is_found_damaged_while_in_use_is_made_anew(
    raw: Path, path: Path, capsys: pytest.CaptureFixture[str], small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification_cache, "ENTRIES_PER_CHUNK", 10)
    look(raw, path)
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)  # its last page: what is read first, and the first entries, are sound
        file.write(b"\xff" * 4096)

    found = look(raw, path)
    assert 0 < found.cached < 120
    assert (found.good.sum(), found.bad) == (120, {})
    assert f"{path} cannot be used" in capsys.readouterr().out

    look(raw, path)
    assert look(raw, path).cached == 120
    assert "WARNING" not in capsys.readouterr().out


# --- Processes ----------------------------------------------------------------------------------


def killed(root: str, files: list[File]) -> list:
    """As verify_files, in a process that is killed when it comes to the dogs."""
    if files[-1].path.startswith("dog"):
        os.kill(os.getpid(), signal.SIGKILL)
    return verify_files(root, files)


def test_a_killed_process_is_an_error_that_says_what_to_do(
    raw: Path, path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("formwork.datasets.verify.verify_files", killed)
        with pytest.raises(DatasetError, match=r"was killed.*raw/(cat|dog)/.*data\.num_workers"):
            look(raw, path, workers=2)

    found = look(raw, path, workers=2)

    assert found.bad == {}
    assert len(entries(path)) == 120


def test_processes_find_what_one_finds(raw: Path, tmp_path: Path, small_chunks: None) -> None:
    noise(np.random.default_rng(0), 300, 200).save(raw / "cat/large.png")
    (raw / "cat/001.png").write_bytes(b"")

    alone, together = (look(raw, tmp_path / f"cache {workers}", workers) for workers in (1, 3))

    paths = find_candidates(raw).paths
    assert [paths[position] for position in alone.bad] == ["cat/001.png"]
    assert together.bad == alone.bad
    assert (together.images == alone.images).all()
    assert (together.good == alone.good).all()


INTERRUPTED = """
import os, sys, threading, time
from pathlib import Path
from formwork.datasets import verify
from formwork.datasets.candidates import find_candidates
from formwork.errors import run

verify.CHUNK_FILES = 1
raw, cache, number, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
paths = find_candidates(raw).paths * 200  # enough to be at work for long

def interrupt():
    time.sleep(seconds)
    os.killpg(0, number)

os.setpgid(0, 0)
threading.Thread(target=interrupt, daemon=True).start()
run(lambda: verify.verify(raw, paths, 2, cache))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])  # while processes start, and later
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_all_processes_is_told_once(raw: Path, path: Path, number: signal.Signals, seconds: float) -> None:
    command = [sys.executable, "-c", INTERRUPTED, raw, path, str(int(number)), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (128 + number, f"Received {number.name}: stopped.\n")
