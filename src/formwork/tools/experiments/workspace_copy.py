"""A copy of the workspace to run experiments in.

`dvc exp run` without options changes the params and results of the workspace, and puts fetched datasets back as they
were. `--temp` and `--queue` take the workspace's edits away for a moment (`git stash`): what is saved then is lost,
and a kill leaves the edits in git's stash. They have neither new files that git does not know nor datasets that are
symlinks, and copy all data for each run. So a clone is made here, once, in which experiments run as in any workspace.
In the workspace itself everything is only read.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.git import git
from formwork.images.manifest import SPLITS, read_manifest
from formwork.interim.tree import ensure_tree
from formwork.tools.experiments.pipeline import INPUTS, TRAINING, Pipeline
from formwork.tools.experiments.place import CLONE, clone, own_place, run_dvc, set_up_dvc

WRITTEN = ("params.yaml", "dvc.lock")  # by `dvc exp run`
NEW = ("src", "data", "dvc.lock", "dvc.yaml", "params.yaml")  # where a file that git does not know matters to a stage


class Copy:
    """See `copied`.

    Attributes:
        folder: of the copy.
    """

    def __init__(self, root: Path, place: Path, lock: int):
        self.folder = place / CLONE
        self._root = root
        self._place = place
        self._lock = lock
        self._head = git(root, "rev-parse", "HEAD").decode().strip()
        self._start: dict[str, bytes] = {}
        self._has_other_data = False

    def fill(self, pipeline: Pipeline, folders: Folders) -> None:
        """Make the copy: the commit, the edits, DVC's settings, and the data."""
        clone(self._root, self.folder, self._head)
        self._take_edits()
        # The cache has the data, and what DVC knows of earlier runs.
        set_up_dvc(self._root, self.folder, pipeline.cache_folder())
        self._dvc("checkout", "checkout", "--with-deps", *INPUTS, *pipeline.added())
        raw = self.folder / folders.raw
        if not pipeline.is_tracked(folders.raw):
            raw.parent.mkdir(parents=True, exist_ok=True)
            raw.symlink_to((self._root / folders.raw).resolve())
        for split in SPLITS:  # or the first run with the PyTorch loader would do it, and be measured doing it
            ensure_tree(read_manifest(self.folder / folders.manifest(split)), raw)
        self._check(pipeline)
        self._start = {name: (self.folder / name).read_bytes() for name in WRITTEN if (self.folder / name).exists()}

    def run(self, name: str, *arguments: str, meanwhile: Callable[[], None] | None = None) -> str:
        """Run an experiment, `dvc exp run` with these arguments; gives what it printed.

        Args:
            meanwhile: see run_logged.

        Raises:
            FormworkError: it failed; with its last lines, and where to read all of them.
            KeyboardInterrupt: Ctrl-C; all of it has ended.
        """
        return self._dvc(name, "exp", "run", "--name", name, *arguments, meanwhile=meanwhile)

    def run_settings(self, name: str, settings: Sequence[str], stages: Sequence[str], force: bool) -> str:
        """Run an experiment that differs from the workspace in settings, and in nothing that those before it did.

        Args:
            settings: as `dvc exp run -S` takes them.
            stages: that are run, in this order; others are not looked at: they are as in the workspace.
            force: train, even where DVC has the result.

        Raises:
            As `run` does.
        """
        from dvc.utils.hydra import apply_overrides

        for path, content in self._start.items():
            (self.folder / path).write_bytes(content)
        if self._has_other_data:
            self._dvc("checkout", "checkout", "--force", "--with-deps", *INPUTS)
        before = [stage for stage in stages if stage not in TRAINING]
        self._has_other_data = bool(before)
        if force and before:  # what they make is no measurement, and may be a download
            apply_overrides(self.folder / "params.yaml", list(settings))
            self._dvc(name, "repro", "--single-item", *before)
        chosen = [f"--set-param={setting}" for setting in settings]
        if force:
            return self.run(name, "--single-item", "--force", *chosen, *TRAINING)
        return self.run(name, "--single-item", *chosen, *stages)

    def keep(self, name: str) -> None:
        """Take an experiment over into the repository of the workspace."""
        ref = f"{self._experiments}/{name}"
        git(self._root, "fetch", "--quiet", "--no-tags", self.folder, f"+{ref}:{ref}")

    def log(self, name: str) -> Path:
        """What an experiment printed."""
        return self._place / f"{name}.log"

    def new_name(self, start: str) -> str:
        """`start`-1, or with the first number that no experiment of this commit has."""
        names = git(self._root, "for-each-ref", "--format=%(refname)", self._experiments).decode().split()
        return next(name for n in count(1) if f"{self._experiments}/{(name := f'{start}-{n}')}" not in names)

    @property
    def _experiments(self) -> str:
        """Where git keeps the experiments of this commit."""
        return f"refs/exps/{self._head[:2]}/{self._head[2:]}"

    def _take_edits(self) -> None:
        changed = git(self._root, "diff", "--name-only", "--no-renames", "-z", "HEAD")
        new = git(self._root, "ls-files", "--others", "--exclude-standard", "-z", *NEW)
        for name in map(os.fsdecode, filter(None, (changed + new).split(b"\0"))):
            source, target = self._root / name, self.folder / name
            target.unlink(missing_ok=True)
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)

    def _check(self, pipeline: Pipeline) -> None:
        """Refuse to run for hours what would not count in the workspace."""
        there, here = pipeline.stages(), Pipeline(self.folder).stages()
        if there != here:
            paths = {
                path
                for stage in there
                for path in there[stage].deps.keys() | here[stage].deps.keys()
                if there[stage].deps.get(path) != here[stage].deps.get(path)
            }
            raise FormworkError(
                f"The copy differs from the workspace in {', '.join(sorted(paths)) or 'params.yaml or dvc.yaml'}. "
                "Either it was changed just now: try again. Or it has files that git ignores and DVC does not: remove "
                "them, or list them in .dvcignore."
            )

    def _dvc(self, log: str, *arguments: str, meanwhile: Callable[[], None] | None = None) -> str:
        return run_dvc(self.folder, self.log(log), self._lock, *arguments, meanwhile=meanwhile)


@contextmanager
def copied(pipeline: Pipeline, folders: Folders, tool: str) -> Iterator[Copy]:
    """A copy of a workspace with its data, for as long as the block lasts.

    Args:
        pipeline: of the workspace; its data is up to date.
        folders: of the dataset, relative to the workspace.
        tool: see `own_place`.

    Raises:
        FormworkError: the same tool is running, or the copy cannot be made.
    """
    root = pipeline.root.absolute()
    with own_place(root, tool) as (place, lock):
        copy = Copy(root, place, lock)
        copy.fill(pipeline, folders)
        yield copy
