"""What the two sides of a comparison are, and where the files of each lie: in the workspace, or in DVC's cache."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from formwork.errors import DatasetError, FormworkError
from formwork.escapes import printable, shell_word
from formwork.folders import Folders
from formwork.git import GitError, check_repository, experiments, git, read_files
from formwork.images.manifest import SPLITS, Manifest, read_manifest
from formwork.params.sections import NAME
from formwork.tools.diff.images import Images, gather
from formwork.tools.experiments.pipeline import Stages, read_lock
from formwork.yaml import YamlError, parse_yaml

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKSPACE = "workspace"
PREDICTIONS = "results/evaluate/predictions.parquet"
MOST_NAMES = 20  # that an error lists


@dataclass(frozen=True)
class Side:
    """A dataset in the workspace, or at a revision.

    Attributes:
        name: as it was asked for.
        revision: the commit, of 40 digits; None for the workspace.
        fetch: options of `dvc fetch` that reach the revision; None where none do, as for an experiment.
        outs: MD5 by path of what the stages link and evaluate have made, from dvc.lock.
        raw: MD5 of the folder of raw images, which ends in .dir, from dvc.lock.
    """

    name: str
    revision: str | None
    dataset: str
    fetch: str | None
    outs: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None

    def __str__(self) -> str:
        if self.revision is None:
            return f"{self.dataset} in the workspace"
        short = self.revision[:7]
        return f"{self.dataset} at {short if self.revision.startswith(self.name) else f'{self.name} ({short})'}"


def find_side(root: Path, asked: str) -> Side:
    """The side that `<revision>`, `workspace`, `<revision>:<dataset>` or `workspace:<dataset>` asks for.

    A revision is what git takes for one, or the name of a DVC experiment. The dataset is that of `data.name` in the
    params.yaml of that side, where none is given.

    Raises:
        FormworkError: there is no such revision or no git repository, or the files that say more cannot be read.
    """
    name, colon, dataset = asked.partition(":")
    if colon and not NAME.fullmatch(dataset):
        example = f"{name or WORKSPACE}:photos"
        raise FormworkError(f"'{printable(asked)}' names no dataset after the colon: write {example}, for example.")
    revision: str | None = None
    fetch: str | None = ""
    if name == WORKSPACE:
        lock, params = (_read(root / file) for file in ("dvc.lock", "params.yaml"))
    else:
        revision, fetch = _resolve(root, name)
        lock, params = read_files(root, [f"{revision}:{file}" for file in ("dvc.lock", "params.yaml")])
    dataset = dataset or _dataset(params, name)
    stages = _stages(lock)
    deps = stages["link"].deps if "link" in stages else {}
    return Side(name, revision, dataset, fetch, _outs(stages), raw=deps.get(Folders.of(dataset).raw.as_posix()))


def _stages(lock: bytes | None) -> Stages:
    return read_lock(lock or b"", ("link", "evaluate"))


def _outs(stages: Stages) -> dict[str, str]:
    """MD5 by path."""
    return {path: md5 for stage in stages.values() for path, md5 in stage.outs.items() if md5}


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _dataset(params: bytes | None, name: str) -> str:
    """data.name, whatever else the params.yaml of another version holds."""
    try:
        dataset = str(parse_yaml(params or b"", "params.yaml")["data"]["name"] or "")
        why = "."
    except (YamlError, KeyError, TypeError) as error:
        dataset, why = "", f": {error}" if isinstance(error, YamlError) else "."
    if not dataset:
        raise FormworkError(
            f"params.yaml of {name} names no dataset in data.name{why} Say which: {name}:photos, for example."
        )
    return dataset


def _resolve(root: Path, name: str) -> tuple[str, str | None]:
    """The commit of a revision, and the option of `dvc fetch` that reaches it."""
    check_repository(root)
    by_name = {experiment: revision for revision, experiment in reversed(list(experiments(root)))}  # the newest stays
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except GitError:
        if name in by_name:
            return by_name[name], None
        raise FormworkError(f"There is no revision '{printable(name)}'. {_known(root, name, by_name)}") from None
    revision = found.decode().strip()
    full = git(root, "rev-parse", "--symbolic-full-name", name).decode().strip()
    kinds = {"refs/heads/": "--all-branches ", "refs/tags/": "--all-tags "}
    option = next((option for start, option in kinds.items() if full.startswith(start)), "--all-commits ")
    return revision, None if revision in by_name.values() else option


def _known(root: Path, name: str, names_of_experiments: Iterable[str]) -> str:
    """A sentence on the names that there are, the nearest ones where there are many."""
    refs = git(root, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags", "refs/remotes")
    known = sorted({WORKSPACE, "HEAD", *refs.decode(errors="replace").split(), *names_of_experiments})
    datasets = [path.name for path in (root / "data/interim").glob("*") if path.is_dir()]
    if name in datasets:
        return f"The dataset of that name is {WORKSPACE}:{name}."
    if near := get_close_matches(name, known, n=3):
        return f"Did you mean {' or '.join(map(printable, near))}?"
    if len(known) > MOST_NAMES:
        return "`git branch --all`, `git tag` and `dvc exp list --all-commits` list those that there are."
    return f"Known: {', '.join(map(printable, known))}."


class Files:
    """The files of sides, found in a workspace and in DVC's cache.

    Args:
        download: get what is in neither from DVC's remote.
    """

    def __init__(self, root: Path, download: bool = False):
        self.root = root
        self.download = download
        self._opened: Repo | None = None

    @property
    def _repo(self) -> "Repo":
        if self._opened is None:
            from dvc.exceptions import DvcException
            from dvc.repo import Repo

            try:
                self._opened = Repo(str(self.root))
            except DvcException as error:
                raise FormworkError(f"DVC: {error}") from error
        return self._opened

    def images(self, side: Side) -> Images:
        """The images of a side, from its manifests.

        Raises:
            DatasetError: there are none, or they are not here, with the command that brings them.
        """
        folders = Folders.of(side.dataset)
        paths = {split: folders.manifest(split).as_posix() for split in SPLITS}
        found = self.find(side, list(paths.values()))
        if not found.keys() >= set(list(paths.values())[:2]):
            raise DatasetError(_no_manifests(side))
        return gather({split: _manifest(side, path, found[path]) for split, path in paths.items() if path in found})

    def notes(self, side: Side) -> list[str]:
        """What makes the manifests of the workspace older than its raw images, where DVC knows of it."""
        raw = Folders.of(side.dataset, self.root).raw
        content = _read(raw.with_name(f"{raw.name}.dvc"))
        if side.revision is not None or content is None or side.raw is None:
            return []
        try:
            added = parse_yaml(content, str(raw))["outs"][0]["md5"]
        except (YamlError, KeyError, IndexError, TypeError):
            return []  # DVC says what is wrong with it
        if added == side.raw:
            return []
        return [f"{raw} was added to DVC after `link` ran: `dvc repro link` takes its changes in."]

    def find(self, side: Side, paths: Sequence[str]) -> dict[str, Path]:
        """Where those of `paths` lie that the side has.

        Raises:
            DatasetError: some are not here, with the command that brings them.
        """
        found: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for path in paths:
            here = self.root / path
            if side.revision is None and here.is_file():
                found[path] = here
            elif path in side.outs:
                found[path] = self.cached(side.outs[path])
                if not found[path].is_file():
                    missing[path] = side.outs[path]
        if missing and self.download:
            missing = self.download_contents(missing)
        if missing:
            raise DatasetError(self._how_to_fetch(side, list(missing)))
        return found

    def cached(self, md5: str) -> Path:
        """Where DVC's cache has a content, if it has it."""
        return Path(self._repo.cache.local.oid_to_path(md5))

    def download_contents(self, missing: Mapping[str, str]) -> dict[str, str]:
        """Get contents from the remote into DVC's cache; gives those that it does not have.

        Args:
            missing: MD5 by path.
        """
        from dvc_data.hashfile.hash_info import HashInfo

        logging.getLogger("dvc").setLevel(logging.ERROR)  # what is not there, our own error says
        try:
            self._repo.cloud.pull([HashInfo("md5", md5) for md5 in missing.values()])
        except Exception as error:  # of any library that reaches remotes
            raise FormworkError(f"DVC cannot get {', '.join(missing)}: {error}") from error
        return {path: md5 for path, md5 in missing.items() if not self.cached(md5).is_file()}

    def _how_to_fetch(self, side: Side, paths: Sequence[str]) -> str:
        what = f"{', '.join(paths)} of {side} {'is' if len(paths) == 1 else 'are'} not in DVC's cache"
        remote = self._repo.config["core"].get("remote")
        stage = "evaluate" if PREDICTIONS in paths else "link"
        if remote is None:
            made = "`dvc repro`" if side.revision is None else "`dvc repro` in a checkout of that revision"
            return f"{what}, and there is no DVC remote to fetch from. {made} makes them again."
        if self.download:
            return f"{what}, nor in the remote {remote}. `dvc push` where they are brings them there."
        here = _outs(_stages(_read(self.root / "dvc.lock")))
        if all(here.get(path) == side.outs[path] for path in paths):  # the workspace has them in common
            return f"{what}. Run `dvc fetch {stage}`, or this again with --fetch."
        if side.fetch is None:
            return f"{what}. Run this again with --fetch: no `dvc fetch` reaches an experiment."
        first = ""
        url = self._written(remote)
        if side.fetch and url and "://" not in url and not Path(url).is_absolute():
            # DVC takes a relative path in the configuration of another revision for one from the root of the disk.
            place = os.path.relpath(self.root / ".dvc" / url, self.root)
            first = f"dvc remote modify --local {remote} url {shell_word(place)} && "
        return f"{what}. Run `{first}dvc fetch {side.fetch}{stage}`, or this again with --fetch."

    def _written(self, remote: str) -> str | None:
        """The address of a remote as it stands in .dvc/config, before DVC has worked out where that is."""
        from dvc.config import Config

        return Config.load_file(str(self.root / ".dvc" / Config.CONFIG))["remote"].get(remote, {}).get("url")


def _manifest(side: Side, path: str, place: Path) -> Manifest:
    try:
        return read_manifest(place)
    except DatasetError as error:
        if side.revision is None and place.match(path):
            raise
        raise DatasetError(
            f"{path} of {side} is damaged, or was written by another version of Formwork. If it is damaged, remove "
            f"{place} and run this again with --fetch."
        ) from error


def _no_manifests(side: Side) -> str:
    if side.revision is None:
        return f"There are no manifests of {side}. Run `dvc repro link`."
    others = {Path(path).parent.name for path in side.outs if path.endswith("/train.csv")} - {side.dataset}
    if others:
        (other,) = others
        return (
            f"dvc.lock of {side.name} has no manifests of {side.dataset}, but those of {other}: ask for "
            f"{side.name}:{other}, or for a revision at which `dvc repro` ran with {side.dataset}."
        )
    return (
        f"dvc.lock of {side.name} has no manifests: `dvc repro` did not run before that commit, or its dvc.lock was "
        "not committed. Take another revision."
    )
