"""Downloads of archives by torchvision: complete and verified by their checksum, or one clear error."""

import functools
import os
import shutil
import socket
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from formwork import limits
from formwork.errors import DatasetError
from formwork.progress import options

TIMEOUT_SECONDS = 60.0  # without a single byte from the server


def download(urls: Sequence[str], folder: Path, md5: str) -> Path:
    """Download one archive to `folder`, unless it is there and has the right checksum.

    While it is downloaded, with a progress bar, its name is <file>.part.

    Args:
        urls: addresses of the file, tried in this order.
        md5: hexadecimal MD5 of the file.

    Raises:
        DatasetError: no address gave the file; the message has the reason for each, and what to do.
        OSError: the file cannot be written.
    """
    from torchvision.datasets import utils  # takes seconds to import

    utils.tqdm = functools.partial(tqdm, **options())
    path = folder / urls[0].rsplit("/", 1)[1]
    if utils.check_integrity(path, md5):
        return path
    partial = path.with_name(f"{path.name}.part")
    faults = []
    for url in urls:
        print(f"Downloading {url}", flush=True)
        partial.unlink(missing_ok=True)
        try:
            with _timeout():
                utils.download_url(url, os.fspath(folder), partial.name, md5)
        # For a wrong checksum, download_url raises a plain RuntimeError. A cut connection ends there, too: http.client
        # takes it for the end of the file.
        except (OSError, HTTPException, RuntimeError) as error:
            if isinstance(error, OSError) and limits.advice(error):  # of this machine, and not of the other
                partial.unlink(missing_ok=True)
                raise
            faults.append(f"  {url}: {_reason(error, partial, md5)}")
            partial.unlink(missing_ok=True)
        else:
            os.replace(partial, path)
            return path
    raise DatasetError(
        "\n".join([f"{path.name} could not be downloaded:", *faults])
        + "\nNothing was changed, and archives that are complete are kept. Check the connection and try again "
        f"(`dvc repro`); or download it elsewhere, and put it at {path}."
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar.gz, .tgz or .gz into `folder`, which need not exist.

    Raises:
        DatasetError, tarfile.TarError: a member of the archive would be written outside of `folder`.
    """
    from torchvision.datasets.utils import extract_archive

    folder.mkdir(parents=True, exist_ok=True)
    if archive.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(archive) as tar:
            # Not by torchvision, which would write outside of `folder` where an archive says so.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, filter="data")
            else:  # before Python 3.10.12 and 3.11.4: Debian 12 has 3.11.2
                tar.extractall(folder, _safe_members(archive, tar))
    else:
        extract_archive(os.fspath(archive), os.fspath(folder))


def _safe_members(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members of an archive. Raises DatasetError for one that is not a file or folder with a path inside of it."""
    for member in tar:
        name = Path(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise DatasetError(f"{archive.name} holds {member.name}, which may lie elsewhere: it is not unpacked.")
        yield member


def empty_folder(folder: Path) -> Path:
    """Make `folder`, and remove first what an interrupted run left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _timeout() -> Iterator[None]:
    """torchvision opens its connections without a timeout: all new sockets of the process get one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception, partial: Path, md5: str) -> str:
    from torchvision.datasets.utils import calculate_md5

    if isinstance(error, TimeoutError):
        return f"no answer for {TIMEOUT_SECONDS:g} s"
    if type(error) is RuntimeError and partial.is_file():
        return (
            f"the connection was cut, or it is another file: {partial.stat().st_size} bytes came, "
            f"with MD5 {calculate_md5(partial)} instead of {md5}"
        )
    return str(error) or type(error).__name__
