"""A checkout to set up without the network: uv and pip find tiny packages in a local folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from formwork.tools.setup import ffcv_build
from formwork.tools.setup.setup import setup
from formwork.tools.setup.system_packages import Need
from tests.workspace import ROOT

UV = Path(sys.executable).with_name("uv")

# Builds a wheel as `ffcv` does, and counts. Files in `folder` let it fail, wait for the file `go`, or store a library
# that cannot be loaded.
BACKEND = """
import pathlib, shutil, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    folder = pathlib.Path({folder!r})
    with (folder / "builds").open("a") as file:
        file.write("built\\n")
    if (folder / "broken").exists():
        raise SystemExit("no such compiler option")
    while (folder / "slow").exists() and not (folder / "go").exists():
        time.sleep(0.01)
    wheel = pathlib.Path(shutil.copy({wheel!r}, wheel_directory))
    if (folder / "stale").exists():
        (folder / "stale").unlink()
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("ffcv/_libffcv.so", "linked with a library that is gone")
    return wheel.name
"""


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, str] | None = None) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for name_in_wheel, text in (files or {}).items():
            entry = zipfile.ZipInfo(name_in_wheel)
            entry.external_attr = 0o100755 << 16
            wheel.writestr(entry, text)
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="session")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' uv is kept, so that it is installed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def packages(tmp_path: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where pip and uv, which see no other, find uv, tiny and the source of ffcv."""
    folder, prebuilt, source = tmp_path / "packages", tmp_path / "prebuilt", tmp_path / "ffcv-1.0"
    for new in (folder, prebuilt, source):
        new.mkdir()
    write_wheel(folder, "uv", "1.0", {"uv-1.0.data/scripts/uv": f'#!/bin/sh\nexec "{UV}" "$@"\n'})
    write_wheel(folder, "tiny", "1.0", {"tiny.py": "NAME = 1\n"})
    wheel = write_wheel(prebuilt, "ffcv", "1.0")
    (source / "backend.py").write_text(BACKEND.format(folder=str(folder), wheel=str(wheel)))
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    shutil.make_archive(str(folder / "ffcv-1.0"), "gztar", tmp_path, source.name)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "FORMWORK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(user_cache))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    yield folder
    (folder / "go").touch()  # a failed test leaves no build that waits for ever


@pytest.fixture
def checkout(tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> "Checkout":
    """On a machine that can build ffcv."""
    monkeypatch.setattr(ffcv_build, "NEEDS", ())
    monkeypatch.setattr("formwork.tools.setup.setup.NEEDS", ())
    root = tmp_path / "a checkout"
    root.mkdir()
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "requirements.txt").write_text("ffcv==1.0\ntiny==1.0\nuv==1.0\n")
    return Checkout(root)


class Checkout:
    def __init__(self, root: Path):
        self.root = root
        self.venv = root / ".venv"
        self.requirements = root / "requirements.txt"

    def setup(self, rebuild_ffcv: bool = False) -> None:
        setup(self.root, rebuild_ffcv)

    @property
    def installed(self) -> set[str]:
        """Packages with their versions."""
        found = self.venv.glob("lib/python*/site-packages/*.dist-info")
        return {path.name.removesuffix(".dist-info") for path in found}


@pytest.fixture
def compiler(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for a compiler: without it, ffcv cannot be built, and this is not root."""
    file = tmp_path / "compiler"
    needs = (Need(file.exists, "g++", "gcc-c++", "gcc", "cxx-compiler"),)
    monkeypatch.setattr(ffcv_build, "NEEDS", needs)
    monkeypatch.setattr("formwork.tools.setup.setup.NEEDS", needs)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return file


def start_script(root: Path, log: Path) -> subprocess.Popen:
    with log.open("w") as file:
        return subprocess.Popen([sys.executable, root / "src" / "install.py"], stdout=file, stderr=file)


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of executables of a machine that has a compiler, root, apt-get and no libraries.

    `apt-get` writes its arguments to the file `calls`; `install` makes pkg-config find everything.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    executable(folder / "c++", "")
    executable(folder / "found", "")
    executable(folder / "pkg-config", "exit 1")
    install_all = f'case "$*" in *install*) /bin/cp {folder}/found {folder}/pkg-config;; esac'
    executable(folder / "apt-get", f'echo "$DEBIAN_FRONTEND: $*" >> {folder}/calls\n{install_all}')
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(ffcv_build, "OPENCV_HEADERS", folder / "no-headers")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder
