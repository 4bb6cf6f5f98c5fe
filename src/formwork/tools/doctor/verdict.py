"""What a check says, and what all of them say together: as a table or as JSON."""

import json
import re
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from formwork.escapes import printable, printable_lines
from formwork.text import count

OK, NOTE, PROBLEM = "ok", "note", "problem"
VERDICTS = (OK, NOTE, PROBLEM)

NARROWEST, WIDEST = 60, 120  # characters of a line of the table

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
    """A result that would stop a run; its commands are found as those of a note."""
    return Result(PROBLEM, str(finding), commands or _quoted(finding))


def not_checked(reason: object) -> Result:
    return Result(NOTE, f"not checked: {reason}", checked=False)


def _quoted(finding: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(COMMAND.findall(str(finding))))


class NotChecked(Exception):
    """A check cannot say anything, for want of what another check reports on; with the reason."""


def as_table(found: Sequence[tuple[str, Result]], width: int | None = None) -> str:
    """A line a check, longer ones wrapped; problems last. Below each come the commands that its words do not have.

    Args:
        width: of a line, in characters; that of the terminal by default.
    """
    width = min(max(width or shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    margin = " " * (max(map(len, VERDICTS)) + max(len(name) for name, _ in found) + 4)
    lines = []
    for verdict in VERDICTS:
        for name, result in _rows([(name, result) for name, result in found if result.verdict == verdict]):
            start = f"{verdict:<{max(map(len, VERDICTS))}}  {name}".ljust(len(margin))
            lines += _wrapped(start, margin, printable_lines(result.finding), width)
            lines += [f"{margin}$ {printable(command)}" for command in result.commands if command not in result.finding]
    counts = Counter(result.verdict for _, result in found)
    summary = f"{count(counts[PROBLEM], 'problem')}, {count(counts[NOTE], 'note')}, {counts[OK]} ok"
    return "\n".join([*lines, "", summary])


def _rows(found: Sequence[tuple[str, Result]]) -> list[tuple[str, Result]]:
    """A row for each check; one for all checks that could not be made for the same reason."""
    unchecked: dict[str, list[str]] = {}
    for name, result in found:
        if not result.checked:
            unchecked.setdefault(result.finding, []).append(name)
    rows = [(name, result) for name, result in found if result.checked]
    for finding, names in unchecked.items():
        rows.append(("", Result(NOTE, f"{finding} ({', '.join(names)})")))
    return rows


def _wrapped(start: str, margin: str, text: str, width: int) -> list[str]:
    lines = [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(
            paragraph, width - len(margin), break_long_words=False, break_on_hyphens=False, drop_whitespace=True
        )
    ]
    return [f"{start if i == 0 else margin}{line}".rstrip() for i, line in enumerate(lines or [""])]


def as_json(found: Sequence[tuple[str, Result]]) -> str:
    """{"problems": number, "checks": [{"check", "verdict", "finding", "commands"}, ...]}"""
    checks = [
        {"check": name, "verdict": r.verdict, "finding": r.finding, "commands": list(r.commands)} for name, r in found
    ]
    return json.dumps({"problems": sum(r.verdict == PROBLEM for _, r in found), "checks": checks}, indent=2)
