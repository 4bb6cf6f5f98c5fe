"""FFCV imported without compiling: it then starts at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba.typed

from formwork.loading.threads import thread_counts_kept


@contextmanager
def _plain_dictionaries() -> Iterator[None]:
    """FFCV makes a numba.typed.Dict of two entries when it is imported, which compiles for four seconds. It only looks
    them up in Python, so a plain dictionary does, in FFCV's own loader and writer, too."""
    typed = numba.typed.Dict
    numba.typed.Dict = dict
    try:
        yield
    finally:
        numba.typed.Dict = typed


with thread_counts_kept(), _plain_dictionaries():
    import ffcv._libffcv
    from ffcv.loader import Loader  # noqa: F401  (for those who need it: from here)

LIBRARY = ffcv._libffcv.__file__
"""FFCV's compiled part, which is linked with libturbojpeg."""
