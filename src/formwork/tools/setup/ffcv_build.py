"""The build of ffcv, against this machine's libraries. Formwork does without where it cannot be built."""

import contextlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from formwork.tools.setup.processes import say, succeeds
from formwork.tools.setup.system_packages import PYTHON, Need, commands_to_run, install_unmet, package_names
from formwork.tools.setup.uv import Uv

OPENCV_HEADERS = Path("/usr/include/opencv4")  # where Debian and Ubuntu put them, on any architecture
INSTALLED, FAILED = "installed", "failed"
REBUILD = "python3 src/install.py --ffcv"
WITHOUT = "Formwork works without, but for operations named ffcv.* and FFCV's own loader."


def build_variables() -> dict[str, str]:
    """The environment, with a compiler: some Pythons ask for the one they were built with elsewhere."""
    return {"CC": "cc", "CXX": "c++"} | os.environ


def has_compiler() -> bool:
    return shutil.which(build_variables()["CXX"].split()[0]) is not None


def has_python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def has_pkg_config() -> bool:
    return shutil.which("pkg-config") is not None


def pkg_config_finds(library: str) -> bool:
    if not has_pkg_config():
        return False
    return subprocess.run(["pkg-config", "--exists", library], check=False).returncode == 0


def has_opencv() -> bool:
    modules = (OPENCV_HEADERS / "opencv2" / name for name in ("core.hpp", "imgproc.hpp"))
    return pkg_config_finds("opencv4") or all(module.exists() for module in modules)


def has_turbojpeg() -> bool:
    return pkg_config_finds("libturbojpeg")


NEEDS = (
    Need(has_compiler, "g++", "gcc-c++", "gcc", "cxx-compiler"),
    Need(has_python_headers, f"{PYTHON}-dev", "python3-devel", "python", "python"),
    Need(has_pkg_config, "pkg-config", "pkgconf-pkg-config", "pkgconf", "pkg-config"),
    # libopencv-dev would be 690 MB, and ffcv uses just these two modules.
    Need(has_opencv, "libopencv-core-dev libopencv-imgproc-dev", "opencv-devel", "opencv", "opencv"),
    Need(has_turbojpeg, "libturbojpeg0-dev", "turbojpeg-devel", "jpeg-turbo", "libjpeg-turbo"),
)


def install_ffcv(uv: Uv, environment: Path, version: str, anew: bool = False) -> str:
    """Install ffcv, if this machine can build it, or say why not; returns INSTALLED, FAILED or what is missing.

    Args:
        anew: build it, even if it was built before, for this environment or another.
    """
    missing = install_unmet(NEEDS)
    if missing:
        say(f"ffcv is left out, for want of {package_names(missing)}, as Debian names them. {WITHOUT}")
        say(f"To have ffcv, too: {commands_to_run(missing)}")
        return package_names(missing)
    with opencv_found() as variables:
        for build in (True,) if anew else (False, True):  # if libraries have changed since, an older build is no use
            if build:
                succeeds(*uv.forget_build("ffcv"), env=uv.variables)
            options = ("--reinstall-package", "ffcv") if build else ()
            if not succeeds(*uv.install(*options, f"ffcv=={version}"), env=uv.variables | variables):
                break
            if _finds_its_libraries(environment):
                return INSTALLED
    say(f"ffcv could not be built: the lines above say why. {WITHOUT}")
    say(f"To try again: {REBUILD}")
    return FAILED


def _finds_its_libraries(environment: Path) -> bool:
    python = environment / "bin" / "python"
    compiled = environment.glob("lib/python*/site-packages/ffcv/*.so")
    return all(succeeds(python, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", path) for path in compiled)


@contextlib.contextmanager
def opencv_found() -> Iterator[dict[str, str]]:
    """Variables with which pkg-config finds opencv4."""
    variables = build_variables()
    if pkg_config_finds("opencv4"):
        yield variables
        return
    with tempfile.TemporaryDirectory(prefix="opencv-") as folder:
        _write_opencv_shim(Path(folder))
        others = variables.get("PKG_CONFIG_PATH")
        yield variables | {"PKG_CONFIG_PATH": f"{folder}:{others}" if others else folder}


def _write_opencv_shim(folder: Path) -> None:
    """Write the two files of libopencv-dev that ffcv asks for, made of core and imgproc alone.

    `folder` must have no space in its path: ffcv's setup.py splits pkg-config's answer at spaces.
    """
    header = folder / "opencv2" / "opencv.hpp"
    header.parent.mkdir()
    header.write_text("#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n")
    (folder / "opencv4.pc").write_text(
        "Name: opencv4\n"
        "Description: OpenCV core and imgproc\n"
        "Version: 4\n"
        f"Cflags: -I{folder} -I{OPENCV_HEADERS}\n"
        "Libs: -lopencv_core -lopencv_imgproc\n"
    )
