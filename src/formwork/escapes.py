"""Text that users did not write for us, names of files and classes for the most part, made safe to show.

A file name may hold anything but a slash and a zero byte: sequences that steer a terminal, line feeds that forge a line
of output, marks that turn the direction of writing. Manifests hold names as they are; whatever is printed, drawn or
written for people goes through this module.
"""

import re
import shlex

CONTROLS = "\x00-\x1f\x7f-\x9f"  # ASCII's, and those that Latin-1 adds, which some terminals obey, too
SEPARATORS = "\u2028\u2029"  # of lines and paragraphs, in browsers and editors
DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
INVISIBLE = "\u00ad\u200b\u2060\ufeff\U000e0000-\U000e007f"  # but joiners, which some scripts and emojis need
SURROGATES = "\ud800-\udfff"  # what Python makes of bytes that are no UTF-8
UNSAFE = re.compile(f"[{CONTROLS}{SEPARATORS}{DIRECTIONS}{INVISIBLE}{SURROGATES}]")
UNSAFE_IN_LINES = re.compile(f"(?!\n)[{CONTROLS}{SEPARATORS}{DIRECTIONS}{INVISIBLE}{SURROGATES}]")
UNSAFE_IN_CELL = re.compile(f"[{CONTROLS}{SEPARATORS}{DIRECTIONS}{INVISIBLE}]")
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width ones count in some spreadsheets


def is_text(name: str) -> bool:
    """Whether a file name is UTF-8. Python decodes other bytes to lone surrogates, which cannot be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: object) -> str:
    r"""One line without anything that steers a terminal: such characters become escapes such as \x1b."""
    return UNSAFE.sub(_escape, str(text))


def printable_lines(text: object) -> str:
    """The same for a text of several lines, whose line feeds stay."""
    return UNSAFE_IN_LINES.sub(_escape, str(text))


def cell(value: object) -> object:
    """A field of a CSV for people: one line, which no spreadsheet takes for a formula. Values that are no text stay
    what they are, and so do bytes of file names that are no UTF-8."""
    if not isinstance(value, str):
        return value
    text = UNSAFE_IN_CELL.sub(_escape, value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def shell_word(text: object) -> str:
    """A path as a shell takes it, to be pasted; one with unsafe characters in the form $'...' of bash and zsh."""
    word = str(text)
    if not UNSAFE.search(word):
        return shlex.quote(word)
    quoted = re.sub(r"[\\']", r"\\\g<0>", word)
    return f"$'{UNSAFE.sub(_escape_bytes, quoted)}'"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_bytes(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogateescape"))
