"""Sizes are read and shown as people write them."""

import pytest

from formwork.tools.tune.sizes import parse_bytes, show_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20e9),
        ("1.5 TB", 1.5e12),
        ("500MiB", 500 * 2**20),
        ("12", 12),
        ("3k", 3000),
        ("2gb", 2e9),
        (" 7 B ", 7),
        (".5G", 5e8),
        ("1Ki", 1024),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "20XB", "-1GB", "1,5GB", "20 G B", "nan", "1iB"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is no size: write 20GB, "):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (7, "7 B"),
        (999, "999 B"),
        (1234, "1.23 kB"),
        (99.9e6, "99.9 MB"),
        (999.6e6, "1 GB"),
        (20e9, "20 GB"),
        (3e15, "3e+03 TB"),
    ],
)
def test_sizes_as_they_are_shown(size, shown):
    assert show_bytes(size) == shown
