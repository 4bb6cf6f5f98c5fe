import pytest

from formwork.drawing.text import cut, wrap


@pytest.mark.parametrize(
    ("width", "cut_to"),
    [(20, "ILSVRC_000293.JPEG"), (18, "ILSVRC_000293.JPEG"), (9, "ILSV…JPEG"), (2, "I…"), (0, "I…")],
)
def test_a_line_loses_its_middle(width, cut_to):
    assert cut("ILSVRC_000293.JPEG", width, len) == cut_to


def test_lines_are_as_full_as_they_can_be():
    assert wrap("one two  three\nfour", 9, len) == ["one two", "three", "four"]
    assert wrap("one two three", 9 + 4, len) == ["one two three"]
    assert wrap("abcdefghijkl x", 5, len) == ["ab…kl", "x"]
    assert wrap("", 5, len) == []
