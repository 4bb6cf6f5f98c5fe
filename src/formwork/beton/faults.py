"""What is said of betons that cannot be used, with the commands that mend them."""

from pathlib import Path

from formwork.errors import BetonError
from formwork.escapes import shell_word
from formwork.limits import advice

NAMED = 3  # files in a command


def missing(path: Path) -> BetonError:
    return BetonError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro convert` to write it.")


def unreadable(path: Path, error: OSError) -> BetonError:
    """The system refuses to read a beton."""
    return BetonError(f"{path} cannot be read: {error.strerror}. {advice(error)}".rstrip())


def damaged(path: Path, reason: str) -> BetonError:
    """The tables of a beton are not what they were written as."""
    return BetonError(f"{path} is damaged or no beton: {reason}. {how_to_mend(path)}")


def commands_to_mend(*paths: Path) -> tuple[str, str, str]:
    """For a damaged beton, or for parts of one: what to run first, and then one of the other two, the first where it
    was pushed.

    DVC takes a file for the one that it wrote while its time and size are the same, and one in its cache while that is
    write-protected: it would leave what a faulty disk did, or bring it back where files are links into the cache.
    `convert` takes parts for what they are called, too, but for those that are repacked.
    """
    first, part = paths[0], is_part(paths[0])
    files = " ".join(map(shell_word, paths)) if len(paths) <= NAMED else f"{shell_word(first.parent)}/*"
    out = shell_word(first.parent if part else first)
    again = "make repack" if part else "dvc repro -f convert"
    return f"chmod u+w {files}; touch {files}", f"dvc pull --force {out}", again


def how_to_mend(*paths: Path) -> str:
    look, pull, repro = commands_to_mend(*paths)
    return f"Run `{look}`, so that DVC looks at it anew, then `{pull}`, or `{repro}` where it was never pushed."


def is_part(path: Path) -> bool:
    """Whether a beton lies in a folder of parts."""
    return path.parent.suffix == ".beton"
