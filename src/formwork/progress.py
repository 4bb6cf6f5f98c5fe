"""Progress bars: on a terminal, where each goes away when it is done, and nowhere else."""

import threading
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

# No thread of tqdm's own, which looks for bars that stand still: it takes a lock that a process forked in that moment
# would wait for without end. Each bar looks at the clock at every step instead.
tqdm.monitor_interval = 0

# A lock of this process alone. That of tqdm is a semaphore, which forked processes share: one that is killed while it
# draws holds it for ever, and all others wait.
tqdm.set_lock(threading.RLock())


def progress(items: Iterable[Any] | None = None, total: int | None = None, *, name: str, unit: str) -> tqdm:
    """A bar over `items`, or one that is updated by hand; stderr must be a terminal, or nothing is drawn.

    Args:
        total: how many there are, where `items` does not tell.
        name: stands before the bar. unit: of what is counted, in the plural.
    """
    return tqdm(items, total=total, **options(), desc=name, unit=f" {unit}")


def options() -> dict[str, Any]:
    """Of all bars, for those that a library draws, too."""
    return {"disable": None, "leave": False, "dynamic_ncols": True, "mininterval": 0.5, "miniters": 1}
