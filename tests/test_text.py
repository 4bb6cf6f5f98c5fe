"""Numbers, sizes and tables as people read them."""

import pytest

from formwork.text import columns, count, format_bytes, parse_bytes, table


def test_a_table_keeps_pipes_in_its_cells():
    assert table(["a", "b"], [[1, "x|y"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"


def test_columns_are_aligned():
    rows = [["", "FFCV", "x"], ["accuracy", "0.98", ""]]
    assert columns(rows) == "          FFCV  x\naccuracy  0.98"
    assert columns([["a", "12"], ["bc", "3"]], numbers=True) == "a   12\nbc   3"


def test_a_noun_follows_its_number():
    assert [count(n, "finding") for n in (0, 1, 1200)] == ["0 findings", "1 finding", "1,200 findings"]
    assert count(2, "class", "classes") == "2 classes"


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
    assert format_bytes(size) == shown
