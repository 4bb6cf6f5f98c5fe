"""Patterns of files that are left out, as in a .gitignore."""

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


def parse_patterns(patterns: Sequence[str]) -> "GitIgnoreSpec":
    """Raises ValueError: one of them means nothing."""
    from pathspec import GitIgnoreSpec  # here, as most runs have no patterns

    for pattern in patterns:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of `re`, on "[[]", which means a bracket
                parsed = GitIgnoreSpec.from_lines([pattern]).patterns
            meant = all(part.include is not None for part in parsed) or pattern.startswith("#")
        except (ValueError, re.error):
            meant = False
        if not (meant and pattern.strip()):
            raise ValueError(f"{pattern!r} is no pattern of a .gitignore")
    return GitIgnoreSpec.from_lines(patterns)
