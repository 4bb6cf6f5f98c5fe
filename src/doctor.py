"""Tool doctor: check what goes wrong in practice; exits with 1 if anything would stop a run."""

import argparse
import platform
import sys


def main() -> None:
    from formwork.tools.doctor.checks import CHECKS, examine
    from formwork.tools.doctor.project import Project
    from formwork.tools.doctor.verdict import PROBLEM, as_json, as_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="check all image data and files, however long it takes")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    arguments = parser.parse_args()
    found = []
    with Project(arguments.full) as project:
        project.start()
        for name, result in examine(project):
            found.append((name, result))
            _show_progress(f"{len(found)}/{len(CHECKS)} {name}")
    _show_progress("")
    print(as_json(found) if arguments.json else as_table(found), flush=True)
    sys.exit(any(result.verdict == PROBLEM for _, result in found))


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - older ones stop at what is imported next
        sys.exit(f"ERROR: Python 3.10 or newer is needed, this is {platform.python_version()}. Run `make setup`.")
    from formwork.errors import run

    run(main)
