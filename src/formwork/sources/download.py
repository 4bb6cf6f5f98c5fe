"""Archives from the network, by torchvision's own code: whole and checked, or one clear error."""

import os
import shutil
import socket
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from formwork.errors import DatasetError

PATIENCE = 60.0  # seconds without a single byte, after which a server is given up


def download(urls: Sequence[str], folder: Path, md5: str) -> Path:
    """Get one archive, which is kept in `folder` until the caller removes that.

    A file that is there and has the right checksum is not asked for again. Else it is downloaded, with a progress bar,
    under the name <file>.part and renamed when its checksum is right.

    Args:
        urls: the same file at one or several places, tried in this order.
        md5: hexadecimal MD5 of the file.

    Raises:
        DatasetError: no place gave the file; the message says for each of them why, and what to do.
    """
    from torchvision.datasets.utils import check_integrity, download_url  # here, because it takes seconds

    path = folder / urls[0].rsplit("/", 1)[1]
    if check_integrity(path, md5):
        return path
    partial = path.with_name(f"{path.name}.part")
    faults = []
    for url in urls:
        print(f"Downloading {url}", flush=True)
        partial.unlink(missing_ok=True)
        try:
            with _patience():
                download_url(url, os.fspath(folder), partial.name, md5)
        # What download_url raises where the checksum is wrong is a plain RuntimeError. A connection that is cut ends
        # there, too: http.client takes it for the end of the file.
        except (OSError, HTTPException, RuntimeError) as error:
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
    """Unpack a .tar.gz, .tgz or .gz below `folder`, which is made where it is missing."""
    from torchvision.datasets.utils import extract_archive

    folder.mkdir(parents=True, exist_ok=True)
    if archive.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(archive) as tar:
            # Nothing outside `folder`; torchvision's own has no such guard.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, filter="data")
            else:  # before Python 3.10.12 and 3.11.4: Debian 12 has 3.11.2
                tar.extractall(folder, _harmless(archive, tar))
    else:
        extract_archive(os.fspath(archive), os.fspath(folder))


def _harmless(archive: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All members of an archive, if they are files and folders below the one that it is unpacked to."""
    for member in tar:
        name = Path(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
            raise DatasetError(f"{archive.name} holds {member.name}, which may lie elsewhere: it is not unpacked.")
        yield member


def empty_folder(folder: Path) -> Path:
    """Make `folder`, without what an interrupted run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _patience() -> Iterator[None]:
    """torchvision opens its connections without a timeout: give all new sockets one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception, partial: Path, md5: str) -> str:
    from torchvision.datasets.utils import calculate_md5

    if isinstance(error, TimeoutError):
        return f"no answer for {PATIENCE:g} s"
    if type(error) is RuntimeError and partial.is_file():
        return (
            f"the connection was cut, or it is another file: {partial.stat().st_size} bytes came, "
            f"with MD5 {calculate_md5(partial)} instead of {md5}"
        )
    return str(error) or type(error).__name__
