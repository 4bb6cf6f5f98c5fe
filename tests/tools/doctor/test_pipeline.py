"""DVC: the repository, what is out of date, and the remote; all on real DVC, git and sockets."""

import fcntl
import shutil
import socket
from collections.abc import Callable

import pytest
from PIL import Image

from formwork.tools.doctor import pipeline
from formwork.tools.doctor.project import Project
from formwork.tools.doctor.verdict import Result
from tests.tools.doctor.conftest import Versioned
from tests.workspace import Workspace


def test_a_repository_that_is_up_to_date_is_ok(versioned: Versioned) -> None:
    _, look = versioned
    found = look("dvc", "dvc status", "raw images")
    assert found["dvc"].finding == "a DVC repository, with its cache in .dvc/cache/files/md5"
    assert found["dvc status"].finding == "everything is up to date"
    assert found["raw images"].verdict == "ok"


@pytest.mark.parametrize(
    ("gone", "words", "commands"),
    [
        ([".git"], "is not a git repository", ("git init",)),
        ([".git", ".dvc"], "you are not inside of a DVC repository", ("git init", "dvc init")),
    ],
)
def test_without_git_or_dvc_no_stage_can_be_run(
    versioned: Versioned, gone: list[str], words: str, commands: tuple[str, ...]
) -> None:
    repo, look = versioned
    for name in gone:
        shutil.rmtree(repo / name)

    found = look("dvc", "dvc status", "dvc remote", "folders", "disk space", "beton train")

    assert found["dvc"].verdict == "problem"
    assert words in found["dvc"].finding
    assert found["dvc"].commands == commands
    for name in ("dvc status", "dvc remote"):
        assert found[name].finding == "not checked: there is no DVC repository that can be used"
    for name in ("folders", "disk space", "beton train"):
        assert found[name].verdict == "ok"


def test_what_is_out_of_date_is_named_with_its_reason(versioned: Versioned) -> None:
    repo, look = versioned
    Image.new("RGB", (8, 8), "red").save(repo / "data/raw/shapes/a/new.png")
    repo.set_params(ffcv__beton__write_mode="raw", trainer__max_epochs=2)

    found = look("dvc status")["dvc status"]

    assert found.verdict == "note"
    assert "data/raw/shapes (changed since `dvc add`)" in found.finding
    assert "where git brought another version of the .dvc file, `dvc checkout` instead" in found.finding
    assert "try, train (trainer); check (params.yaml); link (data/raw/shapes); convert@train, " in found.finding
    assert found.commands == ("dvc add data/raw/shapes", "dvc repro")


def test_a_fresh_clone_is_told_to_pull(versioned: Versioned, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, look = versioned
    clone = repo.clone(repo.path.parent / "clone")
    monkeypatch.chdir(clone.path)

    found = look("dvc status")["dvc status"]

    assert found.verdict == "note"
    assert found.finding.startswith("not here: ")
    assert found.commands == ("dvc pull", "dvc repro")
    assert look("raw images")["raw images"].commands == ("dvc pull data/raw/shapes.dvc",)


def test_a_fetched_dataset_that_was_edited_is_a_problem(versioned: Versioned) -> None:
    repo, look = versioned
    repo.set_params(data__fetch=["digits"])
    repo.dvc("repro data/dvc.yaml")
    next((repo / "data/raw/digits").rglob("*.png")).unlink()

    found = look("dvc status")["dvc status"]
    assert found.verdict == "note"
    assert "data/raw/digits was edited after it was fetched" in found.finding

    repo.set_params(data__name="digits")
    found = look("dvc status")["dvc status"]
    assert found.verdict == "problem"
    repo.shell(" && ".join(found.commands))
    repo.set_params(data__name="digits-mine", data__fetch=[])
    assert look("raw images")["raw images"].verdict == "ok"


def test_another_dvc_process_at_work_is_a_note(versioned: Versioned) -> None:
    repo, look = versioned
    with (repo / ".dvc/tmp/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = look("dvc status")["dvc status"]
    assert found.verdict == "note"
    assert "another DVC process is at work (Unable to acquire lock" in found.finding


def test_a_status_that_takes_long_is_given_up(versioned: Versioned, monkeypatch: pytest.MonkeyPatch) -> None:
    repo, _ = versioned
    with (repo / ".dvc/tmp/lock").open("w") as lock, Project() as project:
        fcntl.flock(lock, fcntl.LOCK_EX)  # DVC waits for it, for some seconds
        project.dvc.get("repository", 60)
        monkeypatch.setattr(pipeline, "SECONDS", 0.01)
        found = pipeline.status(project)
    assert found.verdict == "note"
    assert found.commands == ("dvc status",)


# --- Remotes ------------------------------------------------------------------------------------


def none(repo: Workspace) -> None:
    repo.dvc("remote remove storage")


def no_default(repo: Workspace) -> None:
    repo.dvc("remote default --unset")


def not_mounted(repo: Workspace) -> None:
    repo.dvc("remote modify storage url /mnt/no-such-disk/storage")


def new_folder(repo: Workspace) -> None:
    repo.dvc("remote modify storage url ../new")


def nobody_listens(repo: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    repo.dvc(f"remote modify storage url ssh://user:secret@127.0.0.1:{port}/storage")


def unknown_kind(repo: Workspace) -> None:
    repo.dvc("remote modify storage url gs://bucket/path")


@pytest.mark.parametrize(
    ("change", "verdict", "words", "command"),
    [
        (lambda repo: None, "ok", "remote storage, ", None),
        (new_folder, "ok", "nothing was pushed yet", None),
        (none, "note", "no remote: betons are not shared", "dvc remote add --default"),
        (no_default, "note", "no default among the remotes storage", "dvc remote default storage"),
        (not_mounted, "note", "/mnt/no-such-disk/storage is not there. Is it mounted?", "dvc remote list"),
        (nobody_listens, "note", "the remote cannot be reached: ", "dvc remote list"),
        (unknown_kind, "note", "the remote cannot be reached: ", "dvc remote list"),
    ],
)
def test_remotes(versioned: Versioned, change: Callable, verdict: str, words: str, command: str | None) -> None:
    repo, look = versioned
    change(repo)

    found = look("dvc remote")["dvc remote"]

    assert found.verdict == verdict
    assert words in found.finding
    assert found.commands[0].startswith(command) if command else not found.commands


def ask_a_silent_remote(repo: Workspace, monkeypatch: pytest.MonkeyPatch) -> Result:
    """The result of the check where a server takes a connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        repo.dvc(f"remote modify storage url ssh://user:secret@127.0.0.1:{port}/storage")
        with Project() as project:
            project.dvc.get("status", 60)
            silent.settimeout(60)
            connection, _ = silent.accept()  # the probe is connected now, and waits
            monkeypatch.setattr(pipeline, "SECONDS", 0.1)
            found = pipeline.remote(project)
            connection.close()
    return found


def test_a_remote_that_does_not_answer_is_given_up(versioned: Versioned, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask_a_silent_remote(versioned[0], monkeypatch)
    assert found.verdict == "note"
    assert found.finding == "the remote does not answer within 0.1 s"
