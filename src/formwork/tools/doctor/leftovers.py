"""Checks of what interrupted runs left behind."""

import fcntl
import json
from pathlib import Path

from formwork.tools.doctor.project import Project
from formwork.tools.doctor.verdict import Result, count, note, ok, problem, size

NAMED = 3  # files in a message
RWLOCK = Path(".dvc/tmp/rwlock")  # DVC's list of who reads and writes which outputs


def temporary(project: Project) -> Result:
    """Files that are being written, or were when their writer was killed."""
    raw, name = project.raw.parent, project.raw.name
    found = [raw / f".{name}.{part}" for part in ("partial", "old")]
    found += [raw / f".{name}.archives"]
    for folder in (project.interim, project.processed, Path("models"), Path("models/.resume")):
        found += [*folder.glob(".*.tmp"), *folder.glob("*.tmp")]
    found += Path("results").rglob(".*.tmp")
    found = [path for path in dict.fromkeys(found) if path.exists()]
    if not found:
        return ok("no temporary files")
    busy = [path for path in found if path.is_file() and _is_locked(path)]
    left = [path for path in found if path not in busy]
    if not left:
        return note(f"being written at present: {_listed(busy)}")
    return note(
        f"left by a run that was killed: {_listed(left)} ({size(sum(map(_bytes, left)))}); the next one replaces them",
        *(f"rm -r {path}" if path.is_dir() else f"rm {path}" for path in left),
    )


def _is_locked(path: Path) -> bool:
    """Whether a process is writing it; see formwork.files.atomic_write."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:NAMED])) + (", ..." if len(paths) > NAMED else "")


def locks(project: Project) -> Result:
    """DVC's lock file on outputs: an entry of a process that was killed blocks where its number was given anew."""
    try:
        held = json.loads(RWLOCK.read_text() or "{}")
    except FileNotFoundError:
        return ok("no DVC process holds any")
    except ValueError:
        return problem(f"{RWLOCK} is damaged", f"rm {RWLOCK}")
    entries = [*held.get("write", {}).values(), *(e for readers in held.get("read", {}).values() for e in readers)]
    by_process = {entry["pid"]: entry["cmd"] for entry in entries if entry["pid"] != project.dvc.pid}
    if not by_process:
        return ok("no DVC process holds any")
    commands = {pid: _command(pid) for pid in by_process}
    foreign = [pid for pid, command in commands.items() if command and "dvc" not in command]
    if foreign:
        return problem(
            f"{RWLOCK} holds a lock of process {foreign[0]} ({by_process[foreign[0]]}), which is another one by now "
            f"({commands[foreign[0]]}): DVC waits for it in vain",
            f"rm {RWLOCK}",
        )
    alive = [pid for pid, command in commands.items() if command]
    if alive:
        return note(f"{by_process[alive[0]]} is at work, process {alive[0]}: others must wait for it")
    return ok("only locks of processes that ended, which DVC removes")


def _command(pid: int) -> str:
    """The command line of a process; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def interrupted(project: Project) -> Result:
    """Checkpoints of trainings that did not end; see formwork.training.resume."""
    found = sorted(Path("models/.resume").glob("*.ckpt"))
    if not found:
        return ok("no training was interrupted")
    present = _present_run(project)
    if present in found:
        return note(
            f"a training of these params, data and code was interrupted: the next one goes on from {present}",
            "dvc repro",
        )
    which = "whose params, data or code were others" if present else "of which nothing can be told without manifests"
    return note(f"{count(len(found), 'interrupted training')}, {which}: {_listed(found)}", *(f"rm {p}" for p in found))


def _present_run(project: Project) -> Path | None:
    """Where the checkpoint of a training with the present params, data and code would be."""
    project.need_libraries()
    from formwork.folders import Folders
    from formwork.training.resume import checkpoint_path

    try:
        return checkpoint_path(
            Path("models/.resume"), project.params, Folders(project.raw, project.interim, project.processed)
        )
    except OSError:
        return None
