"""Small archives in the true formats of MNIST, CIFAR and Imagenette, and a server on loopback that gives them."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

PER_CLASS = {"train": 3, "test": 2}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tgz(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def labels(split: str, classes: int) -> np.ndarray:
    return np.random.default_rng(len(split)).permutation(np.repeat(np.arange(classes), PER_CLASS[split]))


def pixels(split: str, number: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(len(split)).integers(0, 256, (number, *shape), dtype=np.uint8)


def mnist() -> dict[str, bytes]:
    """The four files, as idx.gz, by name."""
    files = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        of = labels(split, 10)
        images = pixels(split, len(of), (28, 28))
        files[f"{prefix}-images-idx3-ubyte.gz"] = struct.pack(">4I", 0x803, *images.shape) + images.tobytes()
        files[f"{prefix}-labels-idx1-ubyte.gz"] = struct.pack(">2I", 0x801, len(of)) + of.astype(np.uint8).tobytes()
    return {name: gzip.compress(content) for name, content in files.items()}


def cifar(kind: type, class_names: list[str]) -> tuple[bytes, dict[str, Any]]:
    """The archive of torchvision's class CIFAR10 or CIFAR100, and the attributes that make `kind` accept it."""
    field = "fine_labels" if kind.meta["key"].startswith("fine") else "labels"
    files, lists = {}, {"train_list": [], "test_list": []}
    for split, part in (("train", "train_list"), ("test", "test_list")):
        names = [name for name, _ in getattr(kind, part)]
        of = labels(split, len(class_names))
        images = pixels(split, len(of), (3, 32, 32)).reshape(len(of), -1)
        for name, rows in zip(names, np.array_split(np.arange(len(of)), len(names)), strict=True):
            files[name] = pickle.dumps({"data": images[rows], field: of[rows].tolist()}, protocol=2)
            lists[part].append([name, md5(files[name])])
    files[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: class_names}, protocol=2)
    archive = tgz({f"{kind.base_folder}/{name}": content for name, content in files.items()})
    meta = kind.meta | {"md5": md5(files[kind.meta["filename"]])}
    return archive, {"tgz_md5": md5(archive), "meta": meta, **lists}


def imagenette(wnids: list[str]) -> tuple[bytes, dict[str, bytes]]:
    """The archive of the size 320px, and its images by path below the archive's folder."""
    files = {}
    for split, number in zip(("train", "val"), PER_CLASS.values(), strict=True):
        for wnid in wnids:
            for index in range(number):
                buffer = io.BytesIO()
                Image.fromarray(pixels(f"{split}{wnid}{index}", 1, (24, 32, 3))[0]).save(buffer, "JPEG")
                files[f"{split}/{wnid}/{wnid}_{index}.JPEG"] = buffer.getvalue()
    return tgz({f"imagenette2-320/{path}": content for path, content in files.items()}), files


class Server(ThreadingHTTPServer):
    """Gives `files` by path. `faults`, by path: "404", "cut" (half of the file, then the end), "other" (wrong bytes of
    the right number) or "silent" (no answer). `headers`, by path: of an answer, beside the usual ones. `asked`: the
    paths that were asked for, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = dict(files), {}, []
        self.headers: dict[str, dict[str, str]] = {}
        self.closing = threading.Event()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        fault = self.server.faults.get(path)
        if fault == "silent":
            self.server.closing.wait()
            return
        if fault == "404" or path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        for name, value in self.server.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2
        body = {"cut": content[:half], "other": content[:half] + bytes(len(content) - half)}.get(fault, content)
        try:
            self.wfile.write(body)
        except ConnectionError:  # torchvision asks twice, and hangs up the first time: it looks for redirections
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on the screen."""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    with Server(files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
