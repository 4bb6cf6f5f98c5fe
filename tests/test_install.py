"""Set-up, without the network: pip finds tiny packages in a local folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import install
from tests.processes import wait_for

COMMANDS = ["sudo apt-get install", "sudo dnf install", "brew install", "conda install -c conda-forge"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout"
    (root / "src").mkdir(parents=True)
    shutil.copy(install.__file__, root / "src")
    (root / "requirements.txt").write_text("ffcv==1.0\ntiny==1.0\n")
    return root


def run_script(root: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, root / "src" / "install.py"]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


# --- System packages ----------------------------------------------------------------------------


def test_names_what_is_missing_and_how_to_get_it(checkout: Path, tmp_path: Path) -> None:
    done = run_script(checkout, PATH=str(tmp_path / "empty"))

    assert done.returncode == 1
    for expected in ["g++", "pkg-config", "libturbojpeg0-dev", *COMMANDS]:
        assert expected in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of executables of a machine that has a compiler, root, apt-get and no libraries.

    ``apt-get`` writes its arguments to the file ``calls``; ``install`` makes pkg-config find everything.
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
    monkeypatch.setattr(install, "OPENCV_HEADERS", folder / "no-headers")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


def test_root_installs_just_what_is_missing(bare_machine: Path) -> None:
    install.ensure_system_packages()

    options = "noninteractive: -o DPkg::Lock::Timeout=120"
    names = "libopencv-core-dev libopencv-imgproc-dev libturbojpeg0-dev"
    assert (bare_machine / "calls").read_text().splitlines() == [
        f"{options} update",
        f"{options} install --yes --no-install-recommends {names}",
    ]

    install.ensure_system_packages()
    assert len((bare_machine / "calls").read_text().splitlines()) == 2, "all there: nothing to install"


def test_apt_get_that_fails_is_reported(bare_machine: Path) -> None:
    executable(bare_machine / "apt-get", "exit 100")
    with pytest.raises(install.SetupError, match="libopencv-core-dev"):
        install.ensure_system_packages()


def test_only_root_calls_apt_get(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(install.SetupError, match="libopencv-core-dev"):
        install.ensure_system_packages()
    assert not (bare_machine / "calls").exists()


@pytest.mark.skipif(not install.OPENCV_HEADERS.exists(), reason="no OpenCV headers of Debian or Ubuntu")
def test_opencv_shim_compiles_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKG_CONFIG_LIBDIR", "/nonexistent")  # hides an opencv4.pc that the machine may have
    source, program = tmp_path / "resize.cpp", tmp_path / "resize"
    source.write_text(
        "#include <opencv2/opencv.hpp>\n"
        "int main() {\n"
        "    cv::Mat image(4, 4, CV_8UC3), half;\n"
        "    cv::resize(image, half, cv::Size(2, 2), 0, 0, cv::INTER_AREA);\n"
        "    return half.rows == 2 ? 0 : 1;\n"
        "}\n"
    )
    with install.ffcv_build_environment() as environment:
        query = ["pkg-config", "--cflags", "--libs", "opencv4"]
        flags = subprocess.check_output(query, env=environment, text=True).split()
        subprocess.run([environment["CXX"], source, *flags, "-o", program], env=environment, check=True)
    subprocess.run([program], check=True)


# --- .venv: what is done when, with a stand-in for the processes --------------------------------


class Processes:
    """Stands in for the module ``subprocess``: records commands; the one numbered ``failing`` fails."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.failing: int | None = None

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess:
        self.commands.append(" ".join(command))
        if "venv" in command:
            python = Path(command[-1], "bin", "python")
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        failed = self.failing == len(self.commands) - 1
        return subprocess.CompletedProcess(command, returncode=1 if failed else 0)

    def setup(self, root: Path) -> list[str]:
        """The commands of one set-up."""
        self.commands = []
        install.setup(root)
        return self.commands


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    stand_in = Processes()
    monkeypatch.setattr(install, "ensure_system_packages", lambda: None)
    monkeypatch.setattr(install, "pkg_config_finds", lambda _: True)
    monkeypatch.setattr(install, "subprocess", stand_in)
    return stand_in


def test_ffcv_comes_first_and_nothing_brings_its_dependencies(checkout: Path, processes: Processes) -> None:
    venv, tools, ffcv, rest = processes.setup(checkout)
    assert "-m venv" in venv
    assert tools.endswith("pip setuptools")
    assert ffcv.endswith("ffcv")
    assert rest.endswith("--requirement " + str(checkout / "requirements.txt"))
    assert all("--no-deps" in pip for pip in (tools, ffcv, rest))


def test_second_time_starts_no_process(checkout: Path, processes: Processes) -> None:
    processes.setup(checkout)
    assert processes.setup(checkout) == []


@pytest.mark.parametrize("step", range(4))
def test_starts_over_after_a_failure(checkout: Path, processes: Processes, step: int) -> None:
    processes.failing = step
    with pytest.raises(install.SetupError, match="make setup"):
        processes.setup(checkout)
    assert len(processes.commands) == step + 1

    processes.failing = None
    assert "-m venv --clear" in processes.setup(checkout)[0]


def test_changed_requirements_update_in_place(checkout: Path, processes: Processes) -> None:
    processes.setup(checkout)
    (checkout / "requirements.txt").write_text("ffcv==1.0\n")
    assert not any("-m venv" in command for command in processes.setup(checkout))
    assert processes.setup(checkout) == []


def test_copied_checkout_gets_its_own_venv(checkout: Path, processes: Processes) -> None:
    processes.setup(checkout)
    copy = shutil.copytree(checkout, checkout.with_name("copy"))
    assert "-m venv --clear" in processes.setup(copy)[0]
    assert processes.setup(checkout) == []


def test_another_python_makes_it_anew(checkout: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    processes.setup(checkout)
    monkeypatch.setattr(install.platform, "machine", lambda: "riscv64")
    assert "-m venv --clear" in processes.setup(checkout)[0]


def test_python_that_is_gone_makes_it_anew(checkout: Path, processes: Processes) -> None:
    processes.setup(checkout)
    (checkout / ".venv" / "bin" / "python").unlink()
    assert "-m venv --clear" in processes.setup(checkout)[0]


def test_environment_of_somebody_else_is_kept(checkout: Path, processes: Processes) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    processes.setup(checkout)
    (kept,) = checkout.glob(".venv.2*")
    assert (kept / "pyvenv.cfg").read_text() == "home = /usr/bin\n"


# --- .venv: for real ----------------------------------------------------------------------------

# Builds a wheel as `ffcv` does, for as long as a test wants: from touching `building` until `go` is there.
SLOW_BACKEND = """
import pathlib, shutil, time

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    pathlib.Path({folder!r}, "building").touch()
    while not pathlib.Path({folder!r}, "go").exists():
        time.sleep(0.01)
    return pathlib.Path(shutil.copy({wheel!r}, wheel_directory)).name
"""


def write_wheel(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where pip, which sees no other, finds setuptools, tiny and a slow-building ffcv."""
    folder, prebuilt, source = tmp_path / "packages", tmp_path / "prebuilt", tmp_path / "ffcv-1.0"
    for new in (folder, prebuilt, source):
        new.mkdir()
    write_wheel(folder, "setuptools", "1.0")  # not in a new .venv of Python 3.12
    write_wheel(folder, "tiny", "1.0")
    wheel = write_wheel(prebuilt, "ffcv", "1.0")
    (source / "backend.py").write_text(SLOW_BACKEND.format(folder=str(folder), wheel=str(wheel)))
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    shutil.make_archive(str(folder / "ffcv-1.0"), "gztar", tmp_path, source.name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    yield folder
    (folder / "go").touch()  # a failed test leaves no build that waits for ever


def start_script(root: Path, log: Path) -> subprocess.Popen:
    with log.open("w") as file:
        return subprocess.Popen([sys.executable, root / "src" / "install.py"], stdout=file, stderr=file)


def test_killed_half_way_then_again(checkout: Path, packages: Path, tmp_path: Path) -> None:
    log = tmp_path / "first.log"
    with start_script(checkout, log) as first:
        assert wait_for((packages / "building").exists, 60), log.read_text()
        first.kill()

    # Its pip is still at work in .venv: the second has to wait for that, and then starts over.
    log = tmp_path / "second.log"
    with start_script(checkout, log) as second:
        assert wait_for(lambda: "waiting for another setup" in log.read_text(), 60), log.read_text()
        (packages / "go").touch()
    assert second.returncode == 0, log.read_text()
    assert "setup: making .venv" in log.read_text()
    assert log.read_text().endswith("setup: done\n")

    pip_list = [checkout / ".venv" / "bin" / "pip", "list", "--format=freeze"]
    installed = subprocess.check_output(pip_list, text=True).splitlines()
    assert {"ffcv==1.0", "tiny==1.0"} < set(installed)
    assert run_script(checkout).stdout == "setup: nothing to do\n"
