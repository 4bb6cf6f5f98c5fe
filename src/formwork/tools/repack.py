"""Betons in parts as from nothing again: canonical, without dead bytes, and with no sample that is damaged."""

import os
import subprocess
import sys
from pathlib import Path

from formwork.earlier_parts import REPACK
from formwork.folders import Folders
from formwork.images.manifest import SPLITS


def repack(repository: Path, folders: Folders) -> int:
    """Have DVC run `convert` again, for each split whose beton is in parts, with REPACK set.

    The bytes of an image are copied from the parts that there are; where they are damaged, it is encoded again.

    Args:
        folders: of the dataset, relative to the repository.

    Returns:
        DVC's exit status.
    """
    splits = [split for split in SPLITS if (repository / folders.beton(split)).is_dir()]
    if not splits:
        print(f"No beton in {folders.processed} is in parts: there is nothing to repack.")
        return 0
    # `python` in the stage's command is the one that runs this.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item"]
    command += [f"convert@{split}" for split in splits]
    return subprocess.run(command, cwd=repository, env=os.environ | {"PATH": path, REPACK: "1"}, check=False).returncode
