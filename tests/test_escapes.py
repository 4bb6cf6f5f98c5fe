"""Names of files and classes as they are shown: they steer no terminal, forge no line and are no formula."""

import os
import subprocess
from pathlib import Path

import pytest

from formwork.escapes import cell, printable, printable_lines, shell_word


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 日本 🙂", "plain ä 日本 🙂"),
        ("a\nb\tc\x7f\0", r"a\x0ab\x09c\x7f\x00"),
        ("\x1b[31mred\x1b[0m\x07\x9b2J", r"\x1b[31mred\x1b[0m\x07\x9b2J"),
        ("bad \udcff", r"bad \udcff"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c\u2028", r"\u2066\u2069\u200f\u061c\u2028"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("👩\u200d👧 न\u200cम", "👩\u200d👧 न\u200cम"),  # joiners belong to the text
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable_lines(f"{text}\nmore") == f"{shown}\nmore".replace(r"\x0a", "\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\t=1", r"\x09=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("+7", "'+7"),
        ("a=b", "a=b"),
        ("caf\udce9", "caf\udce9"),
        ("two\nlines", r"two\x0alines"),
        (0.25, 0.25),
        (-3, -3),
    ],
)
def test_no_field_is_a_formula(value: object, shown: object) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize("name", ["plain", "it's", "$HOME `id`", "a\nb'\\", "\x1b[31m", os.fsdecode(b"caf\xe9 'x'")])
def test_a_path_in_a_command_is_that_path_to_a_shell(tmp_path: Path, name: str) -> None:
    word = shell_word(tmp_path / name)
    assert word == printable(word)

    subprocess.run(["bash", "-ec", f"touch {word}"], check=True)

    assert os.listdir(tmp_path) == [name]
