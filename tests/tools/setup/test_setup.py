"""Set-up, without the network: uv and pip find tiny packages in a local folder."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from formwork.errors import FormworkError
from formwork.tools.setup import environment, ffcv_build, uv
from formwork.tools.setup.environment import read_stamp
from formwork.tools.setup.requirements import FOR_CUDA, name_of, pins
from formwork.tools.setup.system_packages import Need
from tests.processes import TIMEOUT, wait_for
from tests.tools.setup.conftest import Checkout, executable, start_script, write_wheel
from tests.workspace import ROOT

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "src/install.py"
NOTHING = "setup: nothing to do\n"


def builds(packages: Path) -> int:
    """How often ffcv was built."""
    log = packages / "builds"
    return len(log.read_text().splitlines()) if log.exists() else 0


# --- What is done when --------------------------------------------------------------------------


def test_installs_what_is_pinned_and_then_nothing(
    checkout: Checkout, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.setup()
    assert checkout.installed == {"ffcv-1.0", "tiny-1.0", "uv-1.0"}
    assert capfd.readouterr().out.endswith("setup: done\n")

    monkeypatch.delattr(subprocess, "run")  # no process is started
    checkout.setup()
    assert capfd.readouterr().out == NOTHING


@pytest.mark.parametrize("missing", ["uv-1.0-py3-none-any.whl", "tiny-1.0-py3-none-any.whl"])
def test_starts_over_after_a_failure(
    checkout: Checkout, packages: Path, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv_cache = tmp_path / "no uv yet"
    if missing.startswith("uv"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(uv_cache))
    (packages / missing).rename(tmp_path / missing)
    with pytest.raises(FormworkError, match="run\n`make setup` again"):
        checkout.setup()
    assert "requirements" not in read_stamp(checkout.venv)

    (tmp_path / missing).rename(packages / missing)
    checkout.setup()
    assert "tiny-1.0" in checkout.installed
    assert [path.name.split("-")[0] for path in uv_cache.rglob("*") if path.is_file()] in (["uv"], [])


def test_changed_requirements_update_in_place(checkout: Checkout, packages: Path) -> None:
    checkout.setup()
    (checkout.venv / "of the user").touch()
    write_wheel(packages, "tiny", "2.0")
    checkout.requirements.write_text("ffcv==1.0\ntiny==2.0\nuv==1.0\n")
    checkout.setup()
    assert "tiny-2.0" in checkout.installed
    assert (checkout.venv / "of the user").exists()


def test_copied_checkout_gets_its_own_environment(checkout: Checkout, capfd: pytest.CaptureFixture[str]) -> None:
    checkout.setup()
    copy = Checkout(checkout.root.with_name("copy"))
    shutil.copytree(checkout.root, copy.root, symlinks=True)
    capfd.readouterr()
    copy.setup()
    assert f"making {copy.venv}" in capfd.readouterr().out
    checkout.setup()
    assert capfd.readouterr().out == NOTHING


@pytest.mark.parametrize("change", ["another Python", "Python is gone"])
def test_another_python_makes_it_anew(checkout: Checkout, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.setup()
    old, mine = checkout.venv / "lib/old", checkout.venv / "thesis.tex"
    old.touch()
    mine.touch()
    if change == "another Python":
        monkeypatch.setattr(environment.platform, "machine", lambda: "riscv64")
    else:
        (checkout.venv / "bin/python").unlink()
    checkout.setup()
    assert not old.exists()
    assert mine.exists()
    assert "tiny-1.0" in checkout.installed


@pytest.mark.parametrize("compiles", [False, True])
def test_modules_are_compiled_where_python_will_not_keep_them_compiled(
    checkout: Checkout, compiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", compiles)
    checkout.setup()
    assert bool(list(checkout.venv.glob("lib/python*/site-packages/__pycache__/tiny.*.pyc"))) == compiles


# --- Where the environment is -------------------------------------------------------------------


@pytest.mark.parametrize("place", [".venv", "link", "variable"])
@pytest.mark.parametrize("file", ["pyvenv.cfg", "thesis.tex"])
def test_files_of_somebody_else_are_left_alone(
    checkout: Checkout, tmp_path: Path, place: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout.venv if place == ".venv" else tmp_path / "elsewhere"
    folder.mkdir()
    (folder / file).write_text("mine")
    if place == "link":
        checkout.venv.symlink_to(folder)
    elif place == "variable":
        monkeypatch.setenv("FORMWORK_VENV", str(folder))
    with pytest.raises(FormworkError, match=rf"has files that `make setup` did not make, {file} for one"):
        checkout.setup()
    assert [path.name for path in folder.iterdir()] == [file]
    assert (folder / file).read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_followed_and_stays(
    checkout: Checkout, tmp_path: Path, there: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "scratch/environment"
    if there:
        target.mkdir(parents=True)
    checkout.venv.symlink_to(target)
    checkout.setup()
    (target / "bin/python").unlink()
    checkout.setup()  # anew
    assert os.readlink(checkout.venv) == str(target)
    assert "tiny-1.0" in checkout.installed
    assert subprocess.run([checkout.venv / "bin/python", "-c", ""], check=False).returncode == 0

    other = Checkout(tmp_path / "other")
    shutil.copytree(checkout.root, other.root, symlinks=True)
    capfd.readouterr()
    other.setup()  # shares it
    assert capfd.readouterr().out == NOTHING


def test_a_variable_says_where_it_is(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMWORK_VENV", "relative")
    with pytest.raises(FormworkError, match="FORMWORK_VENV must be an absolute path, and is 'relative'"):
        checkout.setup()
    monkeypatch.setenv("FORMWORK_VENV", str(tmp_path / "scratch/mine"))
    checkout.setup()
    assert (tmp_path / "scratch/mine/bin/python").exists()
    assert not checkout.venv.exists()


def test_recipes_of_make_use_the_environment_of_the_variable(tmp_path: Path) -> None:
    for folder in (tmp_path / "scratch/bin", tmp_path / ".venv/bin"):
        folder.mkdir(parents=True)
        executable(folder / "python", f"echo in {folder.parent.name}: $*")
    shutil.copy(ROOT / "Makefile", tmp_path)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "preview", f"PYTHON={shutil.which('true')}"]
    for chosen, used in ((str(tmp_path / "scratch"), "scratch"), ("", ".venv")):
        env = variables | {"FORMWORK_VENV": chosen}
        output = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True).stdout
        assert output.startswith(f"in {used}: src/preview.py")


# --- ffcv ---------------------------------------------------------------------------------------


def test_without_a_compiler_ffcv_is_left_out_until_there_is_one(
    checkout: Checkout, packages: Path, compiler: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkout.setup()
    assert checkout.installed == {"tiny-1.0", "uv-1.0"}
    said = capfd.readouterr().out
    assert "setup: ffcv is left out, for want of g++, as Debian names them. Formwork works without" in said
    assert "sudo apt-get install g++\n" in said
    assert said.endswith("setup: done\n")

    checkout.setup()
    assert capfd.readouterr().out == "setup: nothing to do (without ffcv, which needs g++)\n"

    compiler.touch()
    (checkout.venv / "old").touch()
    checkout.setup()
    assert "ffcv-1.0" in checkout.installed
    assert (checkout.venv / "old").exists()
    assert builds(packages) == 1


def test_a_build_that_fails_is_not_tried_again_until_asked(
    checkout: Checkout, packages: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (packages / "broken").touch()
    checkout.setup()
    said = capfd.readouterr()
    assert "no such compiler option" in said.err
    assert "setup: ffcv could not be built: the lines above say why" in said.out
    assert said.out.endswith("setup: done\n")
    assert "tiny-1.0" in checkout.installed

    checkout.setup()
    assert capfd.readouterr().out == "setup: nothing to do (without ffcv, which could not be built)\n"

    (packages / "broken").unlink()
    checkout.setup(rebuild_ffcv=True)
    assert "ffcv-1.0" in checkout.installed
    assert capfd.readouterr().out == "setup: done\n"

    checkout.setup(rebuild_ffcv=True)
    assert builds(packages) == 3


def test_a_second_checkout_has_the_build_of_the_first(checkout: Checkout, packages: Path) -> None:
    checkout.setup()
    other = Checkout(checkout.root.with_name("other"))
    shutil.copytree(checkout.root, other.root, ignore=shutil.ignore_patterns(".venv"))
    other.setup()
    assert "ffcv-1.0" in other.installed
    assert builds(packages) == 1


def test_a_build_whose_libraries_are_gone_is_made_anew(checkout: Checkout, packages: Path) -> None:
    (packages / "stale").touch()
    checkout.setup()
    assert builds(packages) == 2
    assert not list(checkout.venv.glob("lib/python*/site-packages/ffcv/*.so"))
    assert read_stamp(checkout.venv)["ffcv"] == ffcv_build.INSTALLED


# --- PyTorch for the CPU ------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cpu_index(tmp_path: Path) -> Iterator[str]:
    """URL of an index as PyTorch has it: a page for each package, whose links are relative and escape the plus."""
    top = tmp_path / "served"
    for name in ("torch", "torchvision"):
        page = top / "whl/cpu" / name
        page.mkdir(parents=True)
        wheel = write_wheel(top / "whl/cpu", name, "2.0+cpu")
        link = wheel.name.replace("+", "%2B")
        (page / "index.html").write_text(
            f'<!DOCTYPE html><html><body><a href="../{link}">{wheel.name}</a></body></html>'
        )
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(top))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/whl/cpu"
        server.shutdown()


def test_torch_for_the_cpu_is_chosen_once(
    checkout: Checkout, packages: Path, cpu_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "torchvision", "nvidia_cublas", "nvidia_ml_py", "triton"):
        write_wheel(packages, name, "2.0")
    pinned = ["torch==2.0", "torchvision==2.0", "nvidia-cublas==2.0 ; sys_platform == 'linux'  # via torch"]
    pinned += ["nvidia-ml-py==2.0", "triton==2.0", "tiny==1.0", "ffcv==1.0", "uv==1.0"]
    checkout.requirements.write_text("\n".join(pinned))
    for_cpu = {"torch-2.0+cpu", "torchvision-2.0+cpu", "nvidia_ml_py-2.0", "tiny-1.0", "ffcv-1.0", "uv-1.0"}

    monkeypatch.setenv("FORMWORK_TORCH", cpu_index)
    (packages / "tiny-1.0-py3-none-any.whl").rename(packages / "hidden")
    with pytest.raises(FormworkError):
        checkout.setup()
    monkeypatch.delenv("FORMWORK_TORCH")
    (packages / "hidden").rename(packages / "tiny-1.0-py3-none-any.whl")
    checkout.setup()  # the choice outlives a failure
    assert checkout.installed == for_cpu

    checkout.requirements.write_text("\n".join([*pinned, "# more"]))
    checkout.setup()
    assert checkout.installed == for_cpu

    monkeypatch.setenv("FORMWORK_TORCH", "pypi")
    checkout.setup()
    assert {"torch-2.0", "torchvision-2.0", "nvidia_cublas-2.0", "triton-2.0"} < checkout.installed


def test_the_word_cpu_means_the_index_of_pytorch(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def record(command: list[str | Path], **_: object) -> subprocess.CompletedProcess:
        asked.append(" ".join(map(str, command)))
        return subprocess.CompletedProcess(command, 1 if "torch==" in asked[-1] else 0)

    checkout.requirements.write_text("torch==2.11.0\ntorchvision==0.26.0\nffcv==1.0\nuv==1.0\n")
    monkeypatch.setenv("FORMWORK_TORCH", "cpu")
    monkeypatch.setattr(subprocess, "run", record)
    with pytest.raises(FormworkError, match="Installing PyTorch for the CPU failed"):
        checkout.setup()
    assert "--default-index https://download.pytorch.org/whl/cpu " in asked[-1]
    assert asked[-1].endswith("torch==2.11.0 torchvision==0.26.0")


@pytest.mark.parametrize("chosen", ["CPU", "cu126"])
def test_another_torch_is_refused(checkout: Checkout, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORMWORK_TORCH", chosen)
    with pytest.raises(FormworkError, match=f"FORMWORK_TORCH must be cpu, pypi or a URL, and is '{chosen}'"):
        checkout.setup()


def test_what_is_left_out_for_the_cpu_is_what_torch_alone_needs() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    needed_by = {name_of(line): re.split(r", ", line.partition("# via ")[2]) for line in lines if "# via " in line}
    left_out = {name_of(pin) for pin in pins(ROOT / "requirements.txt") if FOR_CUDA.match(pin)}
    assert "triton" in left_out
    for name, users in needed_by.items():
        if name in left_out:
            assert set(users) <= left_out | {"torch"}, name
        else:
            assert not set(users) <= left_out, name


# --- uv, Python, other processes ----------------------------------------------------------------


def test_without_ensurepip_the_uv_on_path_does(
    checkout: Checkout, tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uv, "PIP", Need(lambda: False, "python3.9-venv", "python3", "python", "python"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no uv yet"))
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(FormworkError, match=r"python3\.9-venv.*\n.*sudo apt-get install python3\.9-venv"):
        checkout.setup()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{path}")
    checkout.setup()
    assert "tiny-1.0" in checkout.installed


def test_an_older_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    monkeypatch.setattr(sys, "version_info", (3, 6, 15))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert str(ended.value.code).startswith("setup: Python 3.10 or newer is needed, this is ")


def test_needs_no_package() -> None:
    done = subprocess.run([sys.executable, "-S", SCRIPT, "--help"], check=True, capture_output=True, text=True)
    assert "FORMWORK_TORCH=cpu" in done.stdout


@pytest.fixture
def machine_with_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scripts find all that ffcv is built with."""
    folder = tmp_path / "found"
    folder.mkdir()
    for name in ("c++", "pkg-config"):
        executable(folder / name, "exit 0")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CXX", raising=False)
    if not ffcv_build.has_python_headers():
        pytest.skip("no headers of Python")


def test_killed_half_way_then_again(
    checkout: Checkout, packages: Path, tmp_path: Path, machine_with_compiler: None
) -> None:
    (packages / "slow").touch()
    log = tmp_path / "first.log"
    with start_script(checkout.root, log) as first:
        assert wait_for((packages / "builds").exists), log.read_text()
        first.kill()

    # Its uv is still at work in .venv: the second has to wait for that, and then starts over.
    log = tmp_path / "second.log"
    with start_script(checkout.root, log) as second:
        assert wait_for(lambda: "waiting for another setup" in log.read_text()), log.read_text()
        (packages / "go").touch()
    assert second.returncode == 0, log.read_text()
    assert "setup: making " in log.read_text()
    assert log.read_text().endswith("setup: done\n")
    assert {"ffcv-1.0", "tiny-1.0"} < checkout.installed
    assert json.loads((checkout.venv / "setup.json").read_text())["ffcv"] == ffcv_build.INSTALLED
    with start_script(checkout.root, log) as third:
        pass
    assert third.returncode == 0
    assert log.read_text() == NOTHING


def test_two_at_once(checkout: Checkout, packages: Path, tmp_path: Path, machine_with_compiler: None) -> None:
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    processes = [start_script(checkout.root, log) for log in logs]
    assert [process.wait(TIMEOUT) for process in processes] == [0, 0], [log.read_text() for log in logs]
    assert builds(packages) == 1
