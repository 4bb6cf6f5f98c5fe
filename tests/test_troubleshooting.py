"""Each message that docs/troubleshooting.md quotes is what the program prints: the fault happens here, and is compared.

A quoted message is a block of the page that is marked with the name of a fixture below. The fixture brings the fault
about, and gives what the program says then.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torchvision.datasets import CIFAR10

from formwork import launch, system
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.datasets.candidates import find_candidates
from formwork.datasets.link import link
from formwork.datasets.verify import verify
from formwork.errors import FormworkError
from formwork.files import atomic_write, write_text
from formwork.images.manifest import read_manifest, write_manifest
from formwork.interim.tree import ensure_tree
from formwork.kernels.cache import cache_folder
from formwork.limits import explain
from formwork.loading import pinned
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import SplitFiles
from formwork.loading.factory import FALLBACK, make_loader
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.project import ProjectData
from formwork.loading.pytorch_loader import PyTorchDataLoader, TreeDataset
from formwork.meeting import WAIT, Meeting, _differences, _here
from formwork.models.build import build_model
from formwork.params import BetonParams, Model, Params, Sources, load_params
from formwork.sources.download import download as download_archive
from formwork.sources.fetch import fetch
from formwork.system import machine_id
from formwork.training.finite import FiniteLosses
from formwork.training.fit import advice, build_trainer
from formwork.training.geometry import check_model
from formwork.training.interruption import Interruption
from formwork.training.ranks import Ranks
from formwork.training.resume import PeriodicCheckpoint, find_checkpoint
from tests import permissions
from tests.archives import Server
from tests.beton import test_faults as conversions
from tests.beton.test_faults import conversion, small_disk
from tests.datasets import test_shortage as shortages
from tests.datasets.test_verification_cache import killed, small_chunks
from tests.kernels.test_cache import SMALL
from tests.kernels.test_cache import warning_of as kernel_warning
from tests.loading import test_fallback as fallbacks
from tests.loading.augmentation.test_trial import write_own
from tests.loading.conftest import dataset, make_config, make_split, split
from tests.loading.test_robustness import load_with
from tests.make_images import make_dataset
from tests.processes import TIMEOUT
from tests.sources.test_downloads import server
from tests.sources.test_fetch import target
from tests.test_system import drop
from tests.tools.doctor.conftest import Patient, Versioned, libraries, patient, project, versioned
from tests.tools.doctor.test_environment import other_module
from tests.tools.doctor.test_pipeline import ask_a_silent_remote
from tests.tools.doctor.test_resources import small_processed
from tests.tools.setup.conftest import Checkout, checkout, compiler, packages, user_cache
from tests.training.conftest import folders_of, make_params
from tests.workspace import BIN, ROOT, Workspace

# Fixtures, and what they use.
__all__ = ["checkout", "compiler", "conversion", "dataset", "libraries", "make_split", "patient", "project"]
__all__ += [
    "packages",
    "server",
    "small_chunks",
    "small_disk",
    "small_processed",
    "split",
    "target",
    "user_cache",
    "versioned",
    "write_own",
]

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = dict(re.findall(r"^```text (\w+)\n(.+?)\n```$", PAGE, re.MULTILINE | re.DOTALL))


PIPELINE = {
    "no_dataset",
    "no_utf8",
    "check_raw_files",
    "not_fetched",
    "busy_dvc",
    "memory_killed",
    "memory_killed_sh",
    "doctor_remote",
}
"""Fixtures that drive git and DVC."""


def in_one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.pipeline] if name in PIPELINE else []) for name in QUOTED]
)
def test_the_program_says_what_the_page_quotes(name: str, request: pytest.FixtureRequest) -> None:
    said = request.getfixturevalue(name)

    pattern = ".+?".join(map(re.escape, in_one_line(QUOTED[name]).split("...")))
    assert re.search(pattern, in_one_line(str(said)))


def test_every_block_of_the_page_is_marked() -> None:
    kinds = re.findall(r"^```(\w.*)$", PAGE, re.MULTILINE)
    assert [kind for kind in kinds if kind != "console"] == [f"text {name}" for name in QUOTED]


Said = str | Exception


def error_of(work: Callable[[], object]) -> Exception:
    """The error that a call ends with."""
    with pytest.raises(FormworkError) as raised:
        work()
    return raised.value


def finding(patient: Patient, check: str) -> str:
    return patient.look(check).finding


def warning_of(split: SplitFiles, **options: object) -> str:
    """What make_loader warns of before it falls back."""
    with pytest.warns(UserWarning, match=FALLBACK) as warned:
        assert make_loader(split, make_config(**options), use_ffcv=True).name == "pytorch"
    return str(warned[0].message)


# --- FFCV is not found --------------------------------------------------------------------------


@pytest.fixture
def ffcv_missing(monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.delitem(sys.modules, "formwork.loading.ffcv.import_ffcv", raising=False)
    monkeypatch.delattr("formwork.loading.ffcv.import_ffcv", raising=False)
    for name in ("ffcv", "ffcv.loader"):
        monkeypatch.setitem(sys.modules, name, None)
    return error_of(lambda: Augmentation([{"ffcv.Cutout": {"crop_size": 2}}], 8, 0, "augment.train"))


@pytest.fixture
def doctor_ffcv(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Said:
    with other_module(patient, monkeypatch, "ffcv", "raise ImportError('libopencv_core.so')") as other:
        return finding(other, "ffcv")


# --- make setup ---------------------------------------------------------------------------------


@pytest.fixture
def ffcv_left_out(checkout: Checkout, compiler: Path, capfd: pytest.CaptureFixture[str]) -> Said:
    checkout.setup()
    return capfd.readouterr().out


@pytest.fixture
def ffcv_not_built(checkout: Checkout, packages: Path, capfd: pytest.CaptureFixture[str]) -> Said:
    (packages / "broken").touch()
    checkout.setup()
    return capfd.readouterr().out


@pytest.fixture
def setup_failed(checkout: Checkout, packages: Path) -> Said:
    (packages / "tiny-1.0-py3-none-any.whl").unlink()
    return error_of(checkout.setup)


@pytest.fixture
def setup_foreign(checkout: Checkout) -> Said:
    checkout.venv.mkdir()
    (checkout.venv / "thesis.tex").touch()
    script = [sys.executable, checkout.root / "src/install.py"]
    return subprocess.run(script, check=False, capture_output=True, text=True).stderr


# --- Betons -------------------------------------------------------------------------------------

TRAIN, BETON = Path("data/interim/colours/train.csv"), Path("data/processed/colours/train.beton")


@pytest.fixture
def beton_missing(tmp_path: Path) -> Said:
    return error_of(lambda: open_beton(tmp_path / "train.beton"))


@pytest.fixture
def beton_stale(patient: Patient) -> Said:
    manifest = write_manifest(TRAIN, read_manifest(TRAIN).rows[1:])
    return error_of(lambda: open_beton(BETON).of_manifest(manifest))


@pytest.fixture
def doctor_params(patient: Patient) -> Said:
    patient.set_params(ffcv={"beton": {"write_mode": "raw"}})
    return finding(patient, "beton train")


def error_of_conversion(conversion: conversions.Conversion, kind: str) -> Exception:
    manifest, _ = conversions.spoil(kind, conversion.manifest, conversion.raw)
    return error_of(lambda: write_beton(manifest, conversion.raw, conversion.path, BetonParams(), 1))


@pytest.fixture
def image_missing(conversion: conversions.Conversion) -> Said:
    return error_of_conversion(conversion, "missing")


@pytest.fixture
def image_changed(conversion: conversions.Conversion) -> Said:
    return error_of_conversion(conversion, "changed")


@pytest.fixture
def manifest_missing(tmp_path: Path) -> Said:
    return error_of(lambda: read_manifest(tmp_path / "train.csv"))


@pytest.fixture
def beton_damaged(make_split: Callable[..., SplitFiles]) -> Said:
    split, _ = fallbacks.cut_short(make_split())
    return error_of(lambda: open_beton(split.beton))


@pytest.fixture
def sample_damaged(make_split: Callable[..., SplitFiles]) -> Said:
    split = make_split(write_mode="jpg")
    beton = open_beton(split.beton)
    with split.beton.open("r+b") as file:
        file.seek(int(beton.offsets[40] + beton.sizes[40] // 2))
        file.write(bytes(int(beton.sizes[40]) // 2))
    return error_of(lambda: list(FFCVDataLoader(split, make_config())))


@pytest.fixture
def beton_changed(make_split: Callable[..., SplitFiles]) -> Said:
    split = make_split()
    loader = FFCVDataLoader(split, make_config())
    os.truncate(split.beton, split.beton.stat().st_size // 2)
    return error_of(lambda: list(loader))


# --- Raw images ---------------------------------------------------------------------------------


@pytest.fixture
def no_dataset(repo: Workspace) -> Said:
    repo.set_params(data__name="shape")
    return repo.dvc("repro", status=255).output


@pytest.fixture
def not_fetched(repo: Workspace) -> Said:
    repo.set_params(data__name="cifar10", data__fetch=["digits"])
    return repo.run("python", "src/check.py", "results/check.txt", status=1).output


@pytest.fixture
def bad_images(tmp_path: Path) -> Said:
    raw = make_dataset(tmp_path / "raw/mine")
    (raw / "cat/000.png").write_bytes(b"")
    params = Params.model_validate({"data": {"name": "mine"}})
    return error_of(lambda: link(params, raw, tmp_path / "interim/mine", tmp_path / "findings.csv"))


def error_of_layout(raw: Path, *folders: str) -> Exception:
    make_dataset(raw, folders)
    return error_of(lambda: find_candidates(raw))


@pytest.fixture
def not_classes(tmp_path: Path) -> Said:
    return error_of_layout(tmp_path, "images", "masks")


@pytest.fixture
def split_beside_others(tmp_path: Path) -> Said:
    return error_of_layout(tmp_path, "train/cat", "train/dog", "val/cat", "val/dog", "annotations")


@pytest.fixture
def reserved_name(tmp_path: Path) -> Said:
    return error_of_layout(tmp_path, "car", "plane", "train")


@pytest.fixture
def left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    raw = make_dataset(tmp_path / "raw/mine")
    for name in ("loose.png", "notes.csv", "Thumbs.db", "cat/.DS_Store"):
        (raw / name).touch()
    link(Params.model_validate({"data": {"name": "mine"}}), raw, tmp_path / "interim/mine", tmp_path / "findings.csv")
    return capsys.readouterr().out


@pytest.fixture
def no_utf8(repo: Workspace) -> Said:
    (repo / os.fsdecode(b"data/raw/shapes/a/caf\xe9.png")).touch()
    return repo.dvc("add data/raw/shapes", status=255).output


@pytest.fixture
def doctor_raw_files(patient: Patient) -> Said:
    Path(os.fsdecode(b"data/raw/colours/caf\xe9.png")).touch()
    return finding(patient, "raw files")


@pytest.fixture
def check_raw_files(repo: Workspace) -> Said:
    os.mkfifo(repo / "data/raw/shapes/a/pipe")
    repo.set_params(train__lr=0.1)
    return repo.dvc("repro", status=255).output


@pytest.fixture
def fetched_edited(target: Path) -> Said:
    (target / "0/0.png").write_text("edited")
    return error_of(lambda: fetch("digits", target, Sources()))


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # where nobody listens in a moment
    return error_of(lambda: download_archive([f"http://127.0.0.1:{port}/archive.tgz"], tmp_path, "0" * 32))


@pytest.fixture
def originals_missing(patient: Patient) -> Said:
    shutil.rmtree(patient / "data/raw")
    return error_of(lambda: ensure_tree(read_manifest(TRAIN), Path("data/raw/colours")))


# --- The first epoch is slow --------------------------------------------------------------------


@pytest.fixture
def doctor_page_cache(patient: Patient) -> Said:
    drop(BETON)
    return finding(patient, "page cache")


@pytest.fixture
def kernel_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where kernels are to be kept, in this process from now on."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "kernels"))
    cache_folder.cache_clear()
    yield tmp_path / "kernels"
    cache_folder.cache_clear()


@pytest.fixture
def doctor_kernels(patient: Patient, kernel_folder: Path) -> Said:
    return finding(patient, "kernels")


@pytest.fixture
def doctor_kernels_lost(patient: Patient, kernel_folder: Path) -> Said:
    kernel_folder.touch()
    return finding(patient, "kernels")


@pytest.fixture
def kernels_not_kept(kernel_folder: Path) -> Said:
    kernel_folder.touch()
    return kernel_warning(SMALL, kernel_folder)


@pytest.fixture
def doctor_caching(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr(system, "memory", lambda: (20_000, 10_000))
    patient.set_params(ffcv={"order": "random"})
    return finding(patient, "caching")


@pytest.fixture
def doctor_workers(patient: Patient) -> Said:
    patient.set_params(data={"num_workers": 0})
    patient.write_json("results/speed/metrics.json", {"waiting_share": 0.4, "machine_id": machine_id()})
    return finding(patient, "workers")


# --- Out of memory ------------------------------------------------------------------------------


@pytest.fixture
def memory_verified(tmp_path: Path) -> Said:
    if sys.platform != "linux":
        pytest.skip("memory is limited by Linux alone")
    shortages.add_large_image(shortages.make_root(tmp_path), "PNG")
    return shortages.link(tmp_path, "memory").stderr


@pytest.fixture
def memory_image(conversion: conversions.Conversion) -> Said:
    if sys.platform != "linux":
        pytest.skip("memory is limited by Linux alone")
    return conversions.short_of_memory(conversion)[1]


@pytest.fixture
def memory_killed(repo: Workspace) -> Said:
    return kill_conversion(repo, shell="bash")


@pytest.fixture
def memory_killed_sh(repo: Workspace) -> Said:
    return kill_conversion(repo, shell="sh")


def kill_conversion(repo: Workspace, shell: str) -> str:
    """What DVC says of a conversion that was killed. DVC runs stages by ``$SHELL``: bash becomes the command and
    shows its signal; dash, Debian's sh, waits for the command and exits with 128 + the signal."""
    image = repo / "data/raw/shapes" / read_manifest(repo / "data/interim/shapes/train.csv").rows[0].path
    image.unlink()
    os.mkfifo(image)  # the stage waits for it
    command = [BIN / "dvc", "repro", "--single-item", "--force", "convert@train"]
    env = {**repo.env, "SHELL": f"/bin/{shell}"}
    with subprocess.Popen(
        command, cwd=repo.path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as dvc:
        with image.open("wb"):
            for process in psutil.Process(dvc.pid).children(recursive=True):
                if process.cmdline()[1:2] == ["src/convert.py"]:
                    process.kill()
        return dvc.communicate(timeout=TIMEOUT)[0]


@pytest.fixture
def memory_link(tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> Said:
    raw = make_dataset(tmp_path / "raw", per_class=60, size=(4, 4))
    monkeypatch.setattr("formwork.datasets.verify.verify_files", killed)
    return error_of(lambda: verify(raw, find_candidates(raw).paths, 2, tmp_path / "memory.sqlite3"))


@pytest.fixture
def memory_worker(split: SplitFiles, monkeypatch: pytest.MonkeyPatch) -> Said:
    read = TreeDataset._read

    def read_or_die(self: TreeDataset, sample: int) -> object:
        if sample == 40:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, sample)

    monkeypatch.setattr(TreeDataset, "_read", read_or_die)
    loader = PyTorchDataLoader(split, make_config(batch_size=1, num_workers=1, batches_ahead=1))
    return error_of(lambda: list(loader))


@pytest.fixture
def doctor_betons_alone(patient: Patient) -> Said:
    shutil.rmtree(patient / "data/raw/colours")
    return finding(patient, "raw images")


# --- Merges --------------------------------------------------------------------------------------

MARKS = "<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> photos\n"


@pytest.fixture
def merge_marks(patient: Patient) -> Said:
    path = patient / "params.yaml"
    path.write_text(path.read_text() + MARKS)
    return error_of(load_params)


@pytest.fixture
def doctor_merge(patient: Patient) -> Said:
    (patient / "dvc.lock").write_text("schema: '2.0'\n" + MARKS)
    return finding(patient, "merge")


# --- Model ---------------------------------------------------------------------------------------


@pytest.fixture
def one_value() -> Said:
    params = make_params(data={"batch_size": 1}, model={"name": "resnet18"})
    return error_of(lambda: check_model(build_model(Model(name="resnet18"), 3, 8), params, 8, 1))


# --- Augmentation -------------------------------------------------------------------------------


def error_of_list(*operations: dict) -> Exception:
    return error_of(lambda: Augmentation(list(operations), 20, 0, "augment.train"))


@pytest.fixture
def unknown_operation() -> Said:
    return error_of_list({"RandomCrops": {"padding": 4}})


@pytest.fixture
def wrong_value() -> Said:
    return error_of_list({"ColorJitter": {"brightness": "4e-1"}})


@pytest.fixture
def no_training_image() -> Said:
    return error_of(lambda: Augmentation([{"Pad": {"padding": 4}}], 16, 0, "augment.train"))


@pytest.fixture
def own_mistake(write_own: Callable[..., Path]) -> Said:
    write_own(function="raise KeyError(3)")
    return error_of_list({"Own": {}})


@pytest.fixture
def wrong_order() -> Said:
    return error_of_list({"RandomHorizontalFlip": {}}, {"Resize": {}})


# --- Permissions --------------------------------------------------------------------------------


@pytest.fixture
def cannot_write(tmp_path: Path) -> Said:
    tmp_path.chmod(0o555)
    with permissions.enforced():
        said = error_of(lambda: write_text(tmp_path / "train.beton", ""))
    tmp_path.chmod(0o755)
    return said


@pytest.fixture
def cannot_read(make_split: Callable[..., SplitFiles]) -> Said:
    split, _ = fallbacks.unreadable(make_split())
    with permissions.enforced():
        return error_of(lambda: open_beton(split.beton))


@pytest.fixture
def doctor_folders(patient: Patient) -> Said:
    Path("data/processed/colours").chmod(0o555)
    with permissions.enforced():
        return finding(patient, "folders")


# --- Fallback -----------------------------------------------------------------------------------


@pytest.fixture
def fallback(make_split: Callable[..., SplitFiles]) -> Said:
    return warning_of(fallbacks.missing(make_split())[0])


@pytest.fixture
def fallback_error(make_split: Callable[..., SplitFiles]) -> Said:
    split, _ = fallbacks.missing(make_split())
    return error_of(lambda: make_loader(split, make_config(), use_ffcv=True, fallback="error"))


@pytest.fixture
def doctor_fallback(patient: Patient) -> Said:
    beton = Path("data/processed/colours/train.beton")
    beton.write_bytes(beton.read_bytes()[:-5])
    return finding(patient, "loader")


@pytest.fixture
def doctor_results(patient: Patient) -> Said:
    patient.write_json("results/train/metrics.json", {"loader": "pytorch"})
    return finding(patient, "results")


# --- Hangs --------------------------------------------------------------------------------------


@pytest.fixture
def busy_file(tmp_path: Path) -> Said:
    with atomic_write(tmp_path / "train.beton"):
        return error_of(lambda: write_text(tmp_path / "train.beton", ""))


@pytest.fixture
def busy_dvc(repo: Workspace) -> Said:
    with (repo / ".dvc/tmp/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return repo.dvc("repro", status=255).output


@pytest.fixture
def doctor_remote(versioned: Versioned, monkeypatch: pytest.MonkeyPatch) -> Said:
    return ask_a_silent_remote(versioned[0], monkeypatch).finding


@pytest.fixture
def silent_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setattr("formwork.sources.download.TIMEOUT_SECONDS", 0.3)
    server.faults[CIFAR10.filename] = "silent"
    return error_of(lambda: fetch("cifar10", tmp_path / "cifar10", Sources()))


# --- Disk ---------------------------------------------------------------------------------------


@pytest.fixture
def disk_full(conversion: conversions.Conversion, small_disk: Callable[[str], None]) -> Said:
    return conversion.error()


@pytest.fixture
def few_files(split: SplitFiles, tmp_path: Path) -> Said:
    return load_with(64, split, tmp_path, num_workers=64)


@pytest.fixture
def shared_memory() -> Said:
    """What PyTorch says where there is none: to fill it here would be felt by whatever else runs."""
    return explain(RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: Success (0)"))


@pytest.fixture
def doctor_disk(patient: Patient, small_processed: Path) -> Said:
    return finding(patient, "disk space")


@pytest.fixture
def not_pinned() -> Said:
    refusal = pinned._Refusal()
    with pytest.warns(UserWarning, match="pinned") as warned:
        # As much as no machine has, if it has a GPU at all.
        assert refusal.unless(lambda: torch.empty(1 << 50, dtype=torch.uint8, pin_memory=True)) is None
    return str(warned[0].message)


# --- params.yaml --------------------------------------------------------------------------------


@pytest.fixture
def unknown_key(patient: Patient) -> Said:
    patient.set_params(data={"batch_sise": 16})
    return error_of(load_params)


@pytest.fixture
def large_batch(patient: Patient) -> Said:
    return error_of(lambda: ProjectData(make_params(data={"batch_size": 5000}), folders_of(patient.path)))


@pytest.fixture
def not_distributed(patient: Patient) -> Said:
    patient.set_params(trainer={"devices": 2})
    return error_of(load_params)


@pytest.fixture
def wrong_device() -> Said:
    return error_of(lambda: build_trainer(make_params(trainer={"accelerator": "mps"}).trainer, []))


# --- Interruptions ------------------------------------------------------------------------------


@pytest.fixture
def doctor_interrupted(patient: Patient) -> Said:
    path = Path("models/.resume/run.ckpt")
    path.parent.mkdir(parents=True)
    path.touch()
    return finding(patient, "interrupted runs")


@pytest.fixture
def rank_killed() -> Said:
    ranks = Ranks()
    with subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]) as process:
        process.wait()
    ranks.trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=SimpleNamespace(procs=[process])))
    return ranks.failure()


@pytest.fixture
def wrong_number() -> Said:
    return error_of(lambda: launch.check(launch.Process("torchrun", 0, 4, 0, 2, "a", 29500), 1, 1))


@pytest.fixture
def started_alone() -> Said:
    return error_of(lambda: launch.check(None, 2, 1))


@pytest.fixture
def partly_launched() -> Said:
    return error_of(lambda: launch.this_process({"RANK": "0", "WORLD_SIZE": "2"}))


@pytest.fixture
def node_missing(monkeypatch: pytest.MonkeyPatch) -> Said:
    monkeypatch.setenv(WAIT, "0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return error_of(Meeting(launch.Process("torchrun", 0, 2, 0, 1, "127.0.0.1", port)).__enter__)


@pytest.fixture
def nodes_differ() -> Said:
    first, second = (launch.Process("torchrun", rank, 2, 0, 1, "127.0.0.1", 1) for rank in (0, 1))
    key = "train.lr in params.yaml"
    return _differences(_here(first), {key: "0.003"}, _here(second), {key: "0.01"})


@pytest.fixture
def not_finite() -> Said:
    losses = FiniteLosses()
    losses.found = (2, 57, "training loss is nan")
    ranks = Ranks()
    ranks.trainer = SimpleNamespace(world_size=1)
    checkpoints = PeriodicCheckpoint(Path("x"), 5, Interruption(ranks), losses, advice(make_params()))
    checkpoints.finished = 1
    return str(checkpoints._not_finite(ranks.trainer))


@pytest.fixture
def checkpoint_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    (tmp_path / "run.ckpt").write_bytes(b"no checkpoint")
    assert find_checkpoint(tmp_path / "run.ckpt") is None
    return capsys.readouterr().out
