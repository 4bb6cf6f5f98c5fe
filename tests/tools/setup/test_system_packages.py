"""What ffcv is built with: what is missing, who installs it, and how it is named."""

import os
import subprocess
from pathlib import Path

import pytest

from formwork.tools.setup import ffcv_build
from formwork.tools.setup.ffcv_build import NEEDS, OPENCV_HEADERS, opencv_found
from formwork.tools.setup.system_packages import commands_to_run, install_unmet, package_names, unmet
from tests.tools.setup.conftest import executable

COMMANDS = ["sudo apt-get install", "sudo dnf install", "brew install", "conda install -c conda-forge"]
LIBRARIES = "libopencv-core-dev libopencv-imgproc-dev libturbojpeg0-dev"


def test_names_what_is_missing_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    message = commands_to_run(unmet(NEEDS))
    for expected in ["g++", "pkg-config", "libturbojpeg0-dev", *COMMANDS]:
        assert expected in message


def test_root_installs_just_what_is_missing(bare_machine: Path) -> None:
    assert install_unmet(NEEDS) == []

    options = "noninteractive: -o DPkg::Lock::Timeout=120"
    assert (bare_machine / "calls").read_text().splitlines() == [
        f"{options} update",
        f"{options} install --yes --no-install-recommends {LIBRARIES}",
    ]

    assert install_unmet(NEEDS) == []
    assert len((bare_machine / "calls").read_text().splitlines()) == 2, "all there: nothing to install"


def test_what_apt_get_could_not_install_is_missing(bare_machine: Path) -> None:
    executable(bare_machine / "apt-get", "exit 100")
    assert package_names(install_unmet(NEEDS)) == LIBRARIES


def test_only_root_calls_apt_get(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert package_names(install_unmet(NEEDS)) == LIBRARIES
    assert not (bare_machine / "calls").exists()


@pytest.mark.skipif(not OPENCV_HEADERS.exists(), reason="no OpenCV headers of Debian or Ubuntu")
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
    with opencv_found() as environment:
        query = ["pkg-config", "--cflags", "--libs", "opencv4"]
        flags = subprocess.check_output(query, env=environment, text=True).split()
        subprocess.run([environment["CXX"], source, *flags, "-o", program], env=environment, check=True)
    subprocess.run([program], check=True)


def test_a_compiler_of_the_users_choice_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    assert not ffcv_build.has_compiler()
