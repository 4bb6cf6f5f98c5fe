"""Numbers, sizes and tables as people read them."""

import re
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

PREFIXES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def count(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 finding", "1,200 findings"; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def format_bytes(number: float, digits: str = ".3g") -> str:
    """ "20.1 GB": bytes in powers of 1,000, with three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:{'.0f' if number >= 99.95 or unit == 'B' else digits}} {unit}"
        number /= 1000
    return f"{number:{digits}} TB"


def parse_bytes(text: str) -> int:
    """ "20GB", "1.5 TB", "500MiB" or a number of bytes.

    Raises:
        ValueError: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kKmMgGtT]?i?)[bB]?\s*", text)
    prefixes = {prefix.lower(): factor for prefix, factor in PREFIXES.items()}
    if not found or found[2].lower() not in prefixes:
        raise ValueError(f"{text!r} is no size: write 20GB, 1.5TB, 500MiB or a number of bytes")
    return int(float(found[1]) * prefixes[found[2].lower()])


def width(text: str) -> int:
    """Columns that a text takes on a terminal: two for a wide character, none for one that joins the one before."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, most: int) -> str:
    """The text, or its beginning and "..." where it takes more than `most` columns."""
    if width(text) <= most:
        return text
    while text and width(text) > most - 3:
        text = text[:-1]
    return f"{text}..."


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a pipe in a cell stays a character."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def columns(rows: Sequence[Sequence[str]], numbers: bool = False) -> str:
    """Text in columns for a terminal, two spaces apart.

    Args:
        numbers: align all columns but the first to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if numbers and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def score(value: float) -> str:
    """A metric, of any size, in eight characters: four decimals, or fewer."""
    size = abs(value)
    if size >= 1e7:
        return f"{value:.2e}"
    return f"{value:.{4 if size < 100 else 2 if size < 1e4 else 0}f}"
