"""What a verification has found, as a page for people and as JSON that CI can check."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import write_text
from formwork.formats import write_json
from formwork.git import GitError, git
from formwork.text import count, table

Verdict = Literal["same", "differs", "wall-clock"]
NAME = "certificate"
FILES = ("dvc.lock", "data/dvc.lock", "dvc.yaml", "data/dvc.yaml", "params.yaml")
"""What says what the pipeline is and what it made, beside the code that dvc.lock names."""
SHOWN = 20  # lines of what differs in one output


@dataclass(frozen=True)
class Out:
    """An output of a stage beside what dvc.lock has of it.

    Attributes:
        path: in the repository. origin: "made", or where it was taken from.
        details: sentences on how it differs.
        figures: the same as numbers, by name.
    """

    stage: str
    path: str
    verdict: Verdict
    origin: str = "made"
    details: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificate:
    """
    Attributes:
        commit: that was verified.
        of: git's id of each file and folder that decides what the pipeline makes, by path.
        lock: in what dvc.lock is not of that commit: code, params or data that are others now.
        here, there: machine and versions of this run, and of the one that dvc.lock is of, as far as they are known.
        outs: of all stages.
    """

    commit: str
    of: Mapping[str, str]
    lock: Sequence[str]
    here: Mapping[str, str]
    there: Mapping[str, str]
    outs: Sequence[Out]

    @property
    def differing(self) -> list[Out]:
        return [out for out in self.outs if out.verdict == "differs"]

    @property
    def is_reproduced(self) -> bool:
        return not self.differing and not self.lock

    @property
    def verdict(self) -> str:
        """In a sentence."""
        compared = [out for out in self.outs if out.verdict != "wall-clock"]
        clock = f"; {count(len(self.outs) - len(compared), 'output')} of wall-clock figures are not compared"
        if self.differing:
            start = f"{len(self.differing)} of {count(len(compared), 'output')} differ from dvc.lock"
        else:
            start = f"All {count(len(compared), 'output')} are the same as in dvc.lock, byte for byte"
        stale = f"; but dvc.lock is of other inputs: {'; '.join(self.lock)}" if self.lock else ""
        return f"{start}{clock if len(compared) < len(self.outs) else ''}{stale}."

    def markdown(self) -> str:
        both = [[name, self.here.get(name, "-"), self.there.get(name, "not known")] for name in self.here]
        parts = [
            "# Certificate of reproduction",
            f"**{self.verdict}**",
            f"Commit `{self.commit}`, run from nothing in a clean clone by `make verify`, beside its `dvc.lock`.",
            table(["output", "stage", "beside dvc.lock", "origin"], [_row(out) for out in self.outs]),
            *self._differences(),
            "## Machines and versions",
            table(["", "this run", "the run of dvc.lock"], both),
        ]
        return "\n\n".join(parts) + "\n"

    def _differences(self) -> Iterator[str]:
        if self.differing:
            yield "## What differs"
        for out in self.differing:
            lines = [f"- {printable(line)}" for line in out.details[:SHOWN]]
            lines += [f"- and {len(out.details) - SHOWN:,} more"] if len(out.details) > SHOWN else []
            yield "\n".join([f"`{printable(out.path)}`:", "", *lines])

    def write(self, folder: Path) -> None:
        """Write certificate.json and certificate.md."""
        content = {"verdict": self.verdict, "is_reproduced": self.is_reproduced, **asdict(self)}
        write_json(folder / f"{NAME}.json", content)
        write_text(folder / f"{NAME}.md", self.markdown())


def _row(out: Out) -> list[str]:
    return [f"`{printable(out.path)}`", out.stage, out.verdict, out.origin]


def identity(root: Path, commit: str, dependencies: Sequence[str]) -> dict[str, str]:
    """Git's id at a commit of each of FILES and of the dependencies, by path, as far as git has them."""
    found = {}
    for path in [*FILES, *dependencies]:
        if (name := _object(root, commit, path)) is not None:
            found[path] = name
    return found


def _object(root: Path, commit: str, path: str) -> str | None:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", f"{commit}:{path}").decode().strip()
    except GitError:
        return None


def check(root: Path, folder: Path) -> str:
    """Check a certificate against the repository, without running anything; gives its verdict.

    Raises:
        FormworkError: there is none, something differed, or it is of another pipeline than that of HEAD.
    """
    path = folder / f"{NAME}.json"
    again = "Run `make verify`, and commit what it writes."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        commit, of, outs = str(content["commit"]), dict(content["of"]), [Out(**out) for out in content["outs"]]
        certificate = Certificate(commit, of, content["lock"], content["here"], content["there"], outs)
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is missing. {again}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormworkError(f"{path} is no certificate of this version ({error}). {again}") from error
    other = [name for name in {**of, **identity(root, "HEAD", ())} if _object(root, "HEAD", name) != of.get(name)]
    edited = git(root, "diff", "--name-only", "HEAD", "--", *of).decode().splitlines() if of else []
    if not of or other:
        where = f" in {', '.join(map(printable, other[:SHOWN]))}" if other else ""
        raise FormworkError(
            f"{path} is of another pipeline: commit {commit[:7]}, from which HEAD differs{where}. {again}"
        )
    if edited:
        raise FormworkError(
            f"{path} is not of the workspace: {', '.join(map(printable, edited[:SHOWN]))} has uncommitted changes. "
            "Commit them and verify that, or take them back."
        )
    if not certificate.is_reproduced:
        raise FormworkError(f"{path}: {certificate.verdict}")
    return f"{certificate.verdict} Verified at commit {commit[:7]}: {path}"
