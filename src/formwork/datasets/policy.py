"""What is done about findings."""

from typing import NamedTuple


class Policy(NamedTuple):
    """What is done about findings: the params of these names in `data`."""

    on_bad_image: str
    on_duplicate: str
    on_near_duplicate: str
