"""A slice of `make fuzz ARGS=betons`."""

from collections import Counter

from tests.fuzz import betons


def test_no_damaged_beton_is_loaded_as_other_images() -> None:
    outcomes = Counter(betons.case(seed) for seed in range(300))

    assert outcomes["with checksums: refused when it is opened"] > 50
    assert outcomes["with checksums: refused at the first read"] > 20
    assert outcomes["without checksums: other images"] > 0  # the damage is such that it shows
