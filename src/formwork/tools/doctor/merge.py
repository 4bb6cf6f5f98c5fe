"""Check of a git merge that is half done."""

from collections.abc import Iterator
from pathlib import Path

from formwork.errors import FormworkError
from formwork.git import git
from formwork.tools.doctor.project import Project
from formwork.tools.doctor.verdict import Result, note, ok, problem
from formwork.yaml import conflict_line

READ_BY_DVC = ("params.yaml", "dvc.yaml", "dvc.lock", "data/dvc.yaml", "data/dvc.lock", "data/raw/*.dvc")
RESULTS = ("results/**/*.json", "results/**/*.csv")
DRIVER = 'git config merge.dvc.driver "dvc git-hook merge-driver --ancestor %O --our %A --their %B"'


def merge(project: Project) -> Result:
    """Whether a file holds the marks of a conflict, or git waits for the end of a merge."""
    for path in _files():
        if line := conflict_line(path.read_bytes()):
            return problem(f"{path}, line {line}, holds both sides of a git merge", *_commands(path))
    try:
        unmerged = git(Path(), "ls-files", "--unmerged", "-z").decode(errors="replace").split("\0")
    except FormworkError:
        return ok("no file holds the marks of a conflict")
    names = sorted({entry.partition("\t")[2] for entry in unmerged if entry})
    if not names:
        return ok("no merge is half done")
    more = ", ..." if len(names) > 1 else ""
    commands = ("dvc checkout", "dvc repro", "git add --all", "git commit --no-edit")
    return note(f"a git merge is not finished: {names[0]}{more} (docs/branches.md)", *commands)


def _files() -> Iterator[Path]:
    for pattern in (*READ_BY_DVC, *RESULTS):
        yield from sorted(path for path in Path().glob(pattern) if path.is_file())


def _commands(path: Path) -> tuple[str, ...]:
    if path.suffix == ".dvc":
        return DRIVER, "git merge --abort"  # then merge again, and DVC merges it
    if path.suffix in (".lock", ".json", ".csv"):
        return f"git checkout --ours {path}", "dvc repro"
    return (f"git add {path}",)
