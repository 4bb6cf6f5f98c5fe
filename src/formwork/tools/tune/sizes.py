"""Numbers of bytes, as people write them."""

import re

UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_bytes(text: str) -> int:
    """ "20GB", "1.5 TB", "500MiB" or a number of bytes.

    Raises:
        ValueError: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kKmMgGtT]?i?)[bB]?\s*", text)
    prefixes = {prefix.lower(): factor for prefix, factor in UNITS.items()}
    if not found or found[2].lower() not in prefixes:
        raise ValueError(f"{text!r} is no size: write 20GB, 1.5TB, 500MiB or a number of bytes")
    return int(float(found[1]) * prefixes[found[2].lower()])


def show_bytes(count: float, digits: str = ".3g") -> str:
    """ "20.1 GB", of three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:{'.0f' if count >= 99.95 else digits}} {unit}"
        count /= 1000
    return f"{count:{digits}} TB"
