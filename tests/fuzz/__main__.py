"""Command line of `make fuzz`: feed random input to the code that reads files, and count what becomes of it.

Exits with 1 if any input crashed a process, hung, or gave another result than the reference; each is named by its seed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from tests.fuzz import betons, images
from tests.fuzz.runner import Target, report, run

TARGETS = {
    "images": Target(images.case, images.warm_up),
    "betons": Target(betons.case, betons.warm_up),
}
"""What can be fuzzed, by name. A case is a function of a seed; see Target."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"one or more of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--count", type=int, default=2000, help="inputs for each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first input (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="stop after so long for each, with fewer inputs")
    options = parser.parse_args()
    if unknown := set(options.names) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(TARGETS)}.")
    failed = False
    for name in options.names or TARGETS:
        result = run(TARGETS[name], range(options.seed, options.seed + options.count), options.seconds)
        print(report(name, result))
        failed = failed or bool(result.failures)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
