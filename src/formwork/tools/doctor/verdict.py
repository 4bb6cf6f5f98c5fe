"""What a check says."""

import re
from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"
VERDICTS = (OK, NOTE, PROBLEM)

COMMAND = re.compile(r"`((?:chmod|dvc|git|make|mv|rm) [^`]+)`")


@dataclass(frozen=True)
class Result:
    """Attributes:
    verdict: "ok"; "note", of what is worth knowing and stops no run; or "problem", of what would stop one.
    finding: what was found, in words.
    commands: what to run next, the first of them first.
    checked: False of a note that nothing can be said, for want of what another check reports on.
    """

    verdict: str
    finding: str
    commands: tuple[str, ...] = ()
    checked: bool = True


def ok(finding: str) -> Result:
    return Result(OK, finding)


def note(finding: object, *commands: str) -> Result:
    """The finding may be an error of this package, whose message has commands between backticks."""
    return Result(NOTE, str(finding), commands or _quoted(finding))


def problem(finding: object, *commands: str) -> Result:
    """As note."""
    return Result(PROBLEM, str(finding), commands or _quoted(finding))


def not_checked(reason: object) -> Result:
    return Result(NOTE, f"not checked: {reason}", checked=False)


def _quoted(finding: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(COMMAND.findall(str(finding))))


class NotChecked(Exception):
    """A check cannot say anything, for want of what another check reports on; with the reason."""


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Bytes, in words."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
