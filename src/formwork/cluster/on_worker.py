"""What a Dask worker runs: it hands each task to a process of the code that the task comes from.

These functions travel by value and import the standard library and Dask alone: a worker need not have Formwork, and
has no version of it that could be the wrong one. A process belongs to one thread of the worker and one session, which
is the life of an executor. It gets tasks through its stdin, and ends with that, or with the worker however that ends.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
from typing import Any

BOOT = """
import os, pickle, sys
sys.path[0] = sys.argv[1]
try:
    from formwork.cluster.child import main
except Exception as error:
    answer = pickle.dumps([f"cannot run the code in {sys.argv[1]}: {type(error).__name__}: {error}"])
    os.write(1, len(answer).to_bytes(8, "big") + answer)
else:
    main()
"""
IDLE = 0  # status of a process that had nothing to do for long
START_BYTES = 1 << 16  # of a file, that stand for all of it


def serve(session: dict[str, Any], payload: bytes | None) -> bytes:
    """Run a task in the process of this thread.

    Args:
        session: `token` names it; `folder` and `src` are the workspace and its code; `files` are the digests of files
            that this machine must see, too; `agreement` is that of formwork.cluster.agreement; `env` are variables for
            the process.
        payload: pickled (function, arguments); None: only start the process.

    Returns:
        Pickled: ("done", result), ("raised", exception, its traceback), ("died", how) or ("refused", [ends of
        sentences on this worker]).
    """
    from distributed import get_worker

    children: dict[tuple[str, int], subprocess.Popen] = vars(get_worker()).setdefault("_formwork", {})
    key = session["token"], threading.get_ident()
    child = children.get(key)
    if child and payload:
        if answer := ask(child, payload):
            return answer
        children.pop(key, None)
        if child.wait() != IDLE:
            return pickle.dumps(("died", ending(child)))
    if refusal := not_shared(session):
        return pickle.dumps(("refused", refusal))
    child = children[key] = start(session)
    agreed = ask(child, pickle.dumps(session["agreement"]))
    refusal = [f"cannot run {sys.executable} ({ending(child)})"] if agreed is None else pickle.loads(agreed)
    if refusal:
        child.kill()
        children.pop(key, None)
        return pickle.dumps(("refused", refusal))
    if payload is None:
        return pickle.dumps(("done", None))
    answer = ask(child, payload)
    if answer is None:
        children.pop(key, None)
    return answer or pickle.dumps(("died", ending(child)))


def not_shared(session: dict[str, Any]) -> list[str]:
    """What this machine does not see of what the session is about."""
    for folder in (session["folder"], session["src"]):
        if not os.path.isdir(folder):
            return [f"has no folder {folder}, which must be shared, under the same path"]
    for name, digest in session["files"].items():
        if start_of(os.path.join(session["folder"], name)) != digest:
            return [f"does not see {name} in {session['folder']} as it is here: the folder must be shared"]
    return []


def start_of(path: str) -> str | None:
    """Digest of the size and the first bytes of a file; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(b"%d " % os.fstat(file.fileno()).st_size + file.read(START_BYTES)).hexdigest()
    except OSError:
        return None


def start(session: dict[str, Any]) -> subprocess.Popen:
    """A process for tasks; libraries in it start no threads of their own."""
    command = [sys.executable, "-c", BOOT, session["src"]]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env = {**threads, **os.environ, **session["env"]}
    return subprocess.Popen(command, cwd=session["folder"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def ask(child: subprocess.Popen, message: bytes) -> bytes | None:
    """The answer of a process to a message; None where it has ended without one."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(len(message).to_bytes(8, "big") + message)
        child.stdin.flush()
    except BrokenPipeError:
        return None
    size = child.stdout.read(8)
    answer = child.stdout.read(int.from_bytes(size, "big"))
    return answer if len(size) == 8 and len(answer) == int.from_bytes(size, "big") else None


def ending(child: subprocess.Popen) -> str:
    """How a process has ended, in words."""
    status = child.wait()
    return f"signal {-status}" if status < 0 else f"status {status}"


def stop(token: str, dask_worker: Any) -> None:
    """End the processes of a session on a worker, which Dask gives."""
    children: dict[tuple[str, int], subprocess.Popen] = vars(dask_worker).get("_formwork", {})
    for key, child in list(children.items()):
        if key[0] == token:
            child.kill()
            child.wait()
            children.pop(key, None)
