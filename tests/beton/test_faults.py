"""Whatever happens to a conversion, what stands at its path is a whole beton, or nothing.

Each fault happens to a real process. There are no worker processes that could be killed: threads encode, so a killed
worker is a killed stage. FFCV's own writer leaves a block of shared memory behind when it is killed: here there must be
none. What becomes of a beton that is damaged later is in test_read, test_inspect and tests/loading.
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import formwork
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, write_manifest
from formwork.images.row import Row
from formwork.params import BetonParams
from tests import permissions
from tests.make_images import make_dataset, make_manifest
from tests.processes import TIMEOUT

pytestmark = pytest.mark.slow

SOURCES = Path(formwork.__file__).parents[1]
SIZES = [(48, 40), (9, 7), (30, 60)]


class Conversion:
    """A dataset of 40 images in `folder`, and the stage that makes its beton."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw = make_dataset(folder / "raw", ["cat"], per_class=20, size=SIZES)
        make_dataset(self.raw, ["dog"], per_class=20, size=SIZES, content="noise")
        self.manifest = make_manifest(self.raw, folder / "train.csv")
        self.path = folder / "processed" / "train.beton"
        (folder / "params.yaml").write_text("data: {name: mine}")

    @property
    def names(self) -> list[str]:
        """What stands in the beton's folder."""
        return sorted(os.listdir(self.path.parent)) if self.path.parent.is_dir() else []

    def old(self) -> None:
        """Have something at the beton's path already."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(b"old")

    def start(self, **options: Any) -> subprocess.Popen[str]:
        script = SOURCES / "convert.py"
        outputs = (self.path, "meaning.json", "metrics.json", "speed.json")
        command = [sys.executable, script, self.raw, self.manifest.path, *outputs]
        return subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True, **options)

    def error(self, **options: Any) -> str:
        """The message of the stage, which must fail."""
        with self.start(**options) as stage:
            return self.failure(stage)

    def failure(self, stage: subprocess.Popen[str]) -> str:
        _, output = stage.communicate(timeout=TIMEOUT)
        assert stage.returncode == 1, output
        assert "Traceback" not in output
        return output[output.index("ERROR: ") :]

    def works(self) -> None:
        """The next run, which must succeed and leave nothing beside the beton."""
        with self.start() as stage:
            _, output = stage.communicate(timeout=TIMEOUT)
        assert stage.returncode == 0, output
        open_beton(self.path).of_manifest(self.manifest)
        assert self.names == ["train.beton"]

    def source(self, place: int) -> Path:
        """The image that is stored as the place-th."""
        return self.raw / self.manifest.rows[self.manifest.storage_order[place]].path

    def pipe(self, place: int) -> tuple[Path, bytes]:
        """Put a pipe in place of an image: the stage waits when it comes to it. Returns its path and the content."""
        path = self.source(place)
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        return path, content


@pytest.fixture
def conversion(tmp_path: Path) -> Iterator[Conversion]:
    """Fails the test if there is a block of shared memory afterwards that no process uses."""
    before = unused_shared_memory()
    yield Conversion(tmp_path)
    assert unused_shared_memory() <= before


def unused_shared_memory() -> set[str]:
    """Blocks of this user's that no process has mapped, without those of other tests at the same time, which a look may
    catch before they are mapped or unlinked: semaphores, and blocks of torch, which a conversion does not import."""
    folder = Path("/dev/shm")
    mine = {path.name for path in folder.iterdir() if _owner(path) == os.getuid()} if folder.is_dir() else set()
    mapped = "".join(_read(path) for path in Path("/proc").glob("[0-9]*/maps")) if mine else ""
    return {name for name in mine if f"{folder / name}" not in mapped and not name.startswith(("sem.", "torch_"))}


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a process that has ended, or another user's
        return ""


# --- Sources ------------------------------------------------------------------------------------


def spoil(kind: str, manifest: Manifest, raw: Path) -> tuple[Manifest, Path]:
    """Do something to one image among many; the manifest to convert then, and the image's path."""
    row = manifest.rows[23]
    source = raw / row.path
    content = source.read_bytes()
    if kind == "missing":
        source.unlink()
    elif kind == "changed":
        source.write_bytes(content[:-1] + b"?")
    elif kind == "no image":  # and was none when the manifest was made
        source.write_bytes(content[:40])
        row = replace(row, sha256=hashlib.sha256(content[:40]).hexdigest())
    elif kind == "a folder":
        source.unlink()
        source.mkdir()
    elif kind == "forbidden":
        source.chmod(0)
    return write_manifest(manifest.path, [*manifest.rows[:23], row, *manifest.rows[24:]]), source


@pytest.mark.parametrize("kind", ["missing", "changed", "no image", "a folder"])
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("workers", [1, 4])
def test_one_bad_image_stops_the_conversion_and_changes_nothing(
    conversion: Conversion, kind: str, existing: bool, workers: int
) -> None:
    manifest, source = spoil(kind, conversion.manifest, conversion.raw)
    if existing:
        conversion.old()

    with pytest.raises(BetonError) as error:
        write_beton(manifest, conversion.raw, conversion.path, BetonParams(), workers)

    assert str(source) in str(error.value)
    assert "Run `dvc " in str(error.value)
    assert conversion.names == (["train.beton"] if existing else [])
    assert not existing or conversion.path.read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["missing", "changed", "forbidden"])
def test_the_stage_names_a_bad_image(conversion: Conversion, kind: str) -> None:
    _, source = spoil(kind, conversion.manifest, conversion.raw)

    assert f"ERROR: {source}" in conversion.error(preexec_fn=permissions.give_up)

    assert conversion.names == []


def test_a_source_deleted_while_others_are_read_is_named(conversion: Conversion) -> None:
    conversion.old()
    pipe, content = conversion.pipe(place=0)
    last = conversion.source(place=-1)  # too far away to have been read in advance
    with conversion.start() as stage:
        with pipe.open("wb") as file:  # opens when the stage does
            last.unlink()
            file.write(content)
        assert f"ERROR: {last}: No such file" in conversion.failure(stage)

    assert conversion.names == ["train.beton"]
    assert conversion.path.read_bytes() == b"old"


def test_a_source_cut_short_while_it_is_read_is_named(conversion: Conversion) -> None:
    pipe, content = conversion.pipe(place=20)
    with conversion.start() as stage:
        with pipe.open("wb") as file:
            file.write(content[: len(content) // 2])
        assert f"ERROR: {pipe} changed after its manifest was made" in conversion.failure(stage)

    assert conversion.names == []
    pipe.unlink()
    pipe.write_bytes(content)
    conversion.works()


def short_of_memory(conversion: Conversion) -> tuple[Path, str]:
    """An image of 256 million pixels among the others, and the message of the stage that has too little memory for it:
    more than a start needs, and less than the pixels."""
    path = conversion.raw / "cat" / "large.png"
    Image.new("1", (16_000, 16_000)).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    row = Row("cat/large.png", "cat", 0, path.stat().st_size, 16_000, 16_000, "1", "PNG", digest)
    write_manifest(conversion.manifest.path, [*conversion.manifest.rows, row])
    limit = 1_400_000_000  # bytes
    # One thread: NumPy's BLAS would take memory for as many as there are cores.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return path, conversion.error(
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env=environment | {"OPENBLAS_NUM_THREADS": "1"},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by Linux alone")
def test_an_image_that_memory_does_not_suffice_for_is_named(conversion: Conversion) -> None:
    conversion.old()

    path, error = short_of_memory(conversion)

    assert f"ERROR: {path}: not enough memory to convert 16000 x 16000 pixels. Lower data.num_workers" in error
    assert conversion.path.read_bytes() == b"old"
    assert conversion.names == ["train.beton"]


# --- Output -------------------------------------------------------------------------------------


def test_a_folder_that_must_not_be_written_is_named(conversion: Conversion) -> None:
    conversion.old()
    conversion.path.parent.chmod(0o555)

    error = conversion.error(preexec_fn=permissions.give_up)

    assert f"ERROR: Cannot write {conversion.path}: Permission denied. Check the permissions" in error
    assert conversion.path.read_bytes() == b"old"
    assert conversion.names == ["train.beton"]
    conversion.path.parent.chmod(0o755)
    conversion.works()


def test_a_file_in_place_of_the_folder_is_named(conversion: Conversion) -> None:
    conversion.path.parent.touch()

    assert f"ERROR: Cannot write {conversion.path}" in conversion.error()


def test_a_beton_linked_into_the_cache_is_replaced_there_unchanged(conversion: Conversion) -> None:
    conversion.old()
    cached = conversion.folder / "cached"
    cached.hardlink_to(conversion.path)

    conversion.works()

    assert cached.read_bytes() == b"old"


@pytest.fixture
def small_disk(conversion: Conversion) -> Iterator[Callable[[str], None]]:
    """A disk of 32 kB as the beton's folder, and a function that gives it another size."""
    folder = conversion.path.parent
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the permission to mount a tmpfs")
    yield lambda size: subprocess.run([mount, "-o", f"remount,size={size}", folder], check=True)
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_an_error_that_leaves_the_old_beton(
    conversion: Conversion, small_disk: Callable[[str], None]
) -> None:
    conversion.old()

    assert f"ERROR: Cannot write {conversion.path}: No space left on device. Nothing was" in conversion.error()

    assert conversion.names == ["train.beton"]
    assert conversion.path.read_bytes() == b"old"
    small_disk("10m")
    conversion.works()


@pytest.mark.parametrize("limit", [1, 5_000, 40_000])
def test_a_file_that_must_not_grow_is_an_error_that_leaves_the_old_beton(conversion: Conversion, limit: int) -> None:
    conversion.old()

    # The measuring of coverage could not write its file either, and would complain of it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    error = conversion.error(
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)), env=environment
    )

    if limit == 1:
        assert error.startswith("ERROR: Cannot write metrics.json: File too large. ")
    else:
        assert f"ERROR: Cannot write {conversion.path}: File too large. Nothing was changed" in error
    assert conversion.names == ["train.beton"]
    assert conversion.path.read_bytes() == b"old"


# --- Signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "left"),
    [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGKILL, [".train.beton.tmp"])],
)
def test_an_interrupted_conversion_keeps_the_old_beton(
    conversion: Conversion, number: signal.Signals, left: list[str]
) -> None:
    """The stage waits for an image that is a pipe, and gets the signal while it does."""
    pipe, content = conversion.pipe(place=-1)
    conversion.old()

    with conversion.start() as stage:
        with pipe.open("wb"):
            stage.send_signal(number)
            stage.wait(TIMEOUT)
        assert "Traceback" not in stage.communicate(timeout=TIMEOUT)[1]

    assert stage.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert conversion.path.read_bytes() == b"old"
    assert conversion.names == [*left, "train.beton"]
    pipe.unlink()
    pipe.write_bytes(content)
    conversion.works()


KILLS = """
import contextlib, io, os, random, signal, sys, time
from pathlib import Path
from formwork.conversion.write import write_beton
from formwork.images.manifest import read_manifest
from formwork.params import BetonParams

manifest, raw, path = read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])

def convert(quality):
    with contextlib.redirect_stderr(io.StringIO()):  # progress
        write_beton(manifest, raw, path, BetonParams(write_mode="jpg", jpeg_quality=quality), 2)

def start(quality):
    child = os.fork()
    if child == 0:
        convert(quality)
        os._exit(0)
    return child

def finish(quality):
    assert os.waitpid(start(quality), 0)[1] == 0
    assert os.listdir(path.parent) == [path.name]
    return path.read_bytes()

convert(50)  # loads the kernels, for the children, too
before = time.monotonic()
whole = [finish(50), finish(60)]
seconds = (time.monotonic() - before) / 2
moments = random.Random(0)
killed = 0
for attempt in range(50):
    child = start((50, 60)[attempt % 2])
    time.sleep(moments.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
    assert path.read_bytes() in whole
    # The next run that is not killed, which is of the other beton in half of all cases.
    assert finish((50, 60)[attempt // 2 % 2]) == whole[attempt // 2 % 2]
print(killed)
"""


def test_a_conversion_killed_at_any_moment_leaves_a_whole_beton(conversion: Conversion) -> None:
    """50 conversions, in children of one process because most of a stage's time is spent importing."""
    command = [sys.executable, "-c", KILLS, conversion.manifest.path, conversion.raw, conversion.path]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)

    assert done.returncode == 0, done.stderr
    assert 5 <= int(done.stdout) <= 50  # the others had finished when their signal came
    open_beton(conversion.path).of_manifest(conversion.manifest)
    assert conversion.names == ["train.beton"]
