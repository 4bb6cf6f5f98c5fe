"""Downloads of weights: complete and verified, or one clear error."""

import hashlib
import re
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from formwork import limits
from formwork.errors import FormworkError
from formwork.progress import progress

TIMEOUT_SECONDS = 60.0  # without a single byte from the server
CHUNK = 1 << 20


def download(url: str, path: Path, sha256: str) -> None:
    """Download one file, with a progress bar.

    Args:
        sha256: how the hexadecimal SHA-256 of the file begins, as far as it is known.

    Raises:
        FormworkError: it cannot be downloaded, or is another one.
        OSError: this machine cannot write it.
    """
    print(f"Downloading {url}", flush=True)
    try:
        _receive(url, path)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, OSError) and limits.advice(error):  # of this machine, and not of the other
            raise
        if isinstance(error, HTTPError):
            error.close()
        reason = f"no answer for {TIMEOUT_SECONDS:g} s" if isinstance(error, TimeoutError) else _words(error)
        raise _failed(url, reason) from error
    found = file_sha256(path)
    if not found.startswith(sha256):
        raise _failed(url, f"it is another file: its SHA-256 is {found}, and should begin with {sha256}")


def _receive(url: str, path: Path) -> None:
    with urlopen(Request(url, headers={"User-Agent": "formwork"}), timeout=TIMEOUT_SECONDS) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length else None
        with path.open("wb") as file, progress(total=total, name=path.name, unit="bytes") as bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        if total is not None and path.stat().st_size != total:
            raise ValueError(f"the connection was cut: {path.stat().st_size} of {total} bytes came")


def download_from_hub(repository: str, filename: str | None, folder: Path) -> tuple[Path, str]:
    """Get the weights of a model from the Hugging Face Hub: from the cache of this machine, or else from the hub.

    Args:
        repository: <owner>/<name>, or with @<revision> behind it.
        filename: None: the one that models of timm have there.
        folder: where it is downloaded to.

    Returns:
        The file, and its URL, which names the commit.

    Raises:
        FormworkError: it cannot be downloaded, or is another one than the hub says.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.file_download import get_hf_file_metadata

    repo, _, revision = repository.partition("@")
    names = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        cached = try_to_load_from_cache(repo, name, revision=revision or None)
        if isinstance(cached, str) and (path := of_cache(Path(cached), _blob(Path(cached)))):
            return path, hf_hub_url(repo, name, revision=Path(cached).parent.name)
    for name in names:
        url = hf_hub_url(repo, name, revision=revision or None)
        try:
            facts = get_hf_file_metadata(url)
        except EntryNotFoundError as error:
            if name == names[-1]:
                raise _failed(url, _words(error)) from error
            continue
        except Exception as error:  # of huggingface_hub, and of the libraries that it is built on
            raise _failed(url, _words(error)) from error
        # Of a large file the hub gives the SHA-256 as its ETag. Its own function for downloads, hf_hub_download, does
        # not compare it, and tries without end where connections are cut.
        pinned = hf_hub_url(repo, name, revision=facts.commit_hash or revision or None)
        path = folder / name
        download(pinned, path, facts.etag if facts.etag and re.fullmatch("[0-9a-f]{64}", facts.etag) else "")
        return path, pinned
    raise AssertionError("names is empty")


def _blob(cached: Path) -> str:
    """The SHA-256 of a file in the hub's cache, which names what it is a link to."""
    name = cached.resolve().name
    return name if re.fullmatch("[0-9a-f]{64}", name) else ""


def of_cache(path: Path, sha256: str) -> Path | None:
    """A file in a cache of this machine, where it is there and its SHA-256 begins with `sha256`."""
    if sha256 and path.is_file() and file_sha256(path).startswith(sha256):
        return path
    return None


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _failed(url: str, reason: str) -> FormworkError:
    return FormworkError(
        f"The weights of model.weights: default could not be downloaded.\n  {url}: {reason}\nNothing was changed. "
        "Check the connection and run `dvc repro` again; or download the file elsewhere, put it into models/weights, "
        "run `dvc add` on it and name it in model.weights."
    )


def _words(error: Exception) -> str:
    text = str(error.reason if type(error) is URLError else error) or type(error).__name__
    return text.partition("\n")[0].rstrip(".")
