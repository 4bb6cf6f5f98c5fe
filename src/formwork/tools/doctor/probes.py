"""What a child process runs; see .children. Answers are lines of JSON: [key, value, fault or null]."""

import json
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _say(key: str, value: Any = None, fault: str | None = None) -> None:
    print(json.dumps([key, value, fault]), flush=True)


def _answer(key: str, work: Callable[[], Any]) -> None:
    try:
        _say(key, work())
    except Exception as error:  # whatever it is, it is the answer
        _say(key, fault=str(error) or type(error).__name__)


# --- Libraries ----------------------------------------------------------------------------------


def libraries() -> None:
    """torch with its GPUs, then ffcv as its operations import it."""
    _answer("torch", _torch)
    _answer("ffcv", _ffcv)


def _torch() -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        fault = None
        try:
            for i in range(len(names)):
                torch.ones(1, device=f"cuda:{i}").sum().item()  # this torch may have no code for this GPU
        except RuntimeError as error:
            fault = str(error).splitlines()[0]
    return {
        "version": torch.__version__,
        "built_for": f"CUDA {torch.version.cuda}" if torch.version.cuda else torch.version.hip and "ROCm",
        "names": names,
        "mps": torch.backends.mps.is_available(),
        "fault": fault,
        "warnings": [str(w.message).splitlines()[0] for w in warned if "CUDA" in str(w.message)],
    }


def _ffcv() -> str:
    from importlib.metadata import version

    from formwork.loading.ffcv import import_ffcv  # noqa: F401

    return version("ffcv")


# --- DVC ----------------------------------------------------------------------------------------


def dvc() -> None:
    """The repository of the current folder; whether its remote answers; and what `dvc status` says."""
    _answer("repository", _repository)
    remote = threading.Thread(target=_answer, args=("remote", _remote), daemon=True)
    remote.start()
    _answer("status", lambda: _open().status())
    remote.join()
    os._exit(0)  # not to wait for the threads of connections


def _open() -> Any:
    from dvc.repo import Repo

    return Repo(".")


def _repository() -> dict[str, Any]:
    repo = _open()
    return {
        "root": repo.root_dir,
        "cache": str(Path(repo.cache.local.path)),
        "cache_types": list(repo.cache.local.cache_types or []),
    }


def _remote() -> dict[str, Any]:
    """The default remote, and whether its folder exists; the name is None where there is no default."""
    repo = _open()
    name = repo.config["core"].get("remote")
    if name is None:
        return {"name": None, "others": sorted(repo.config["remote"])}
    remote = repo.cloud.get_remote(name)
    local = remote.fs.protocol == "local"
    return {
        "name": name,
        "url": remote.path if local else repo.config["remote"][name]["url"],
        "local": local,
        "exists": remote.fs.exists(remote.path),
    }
