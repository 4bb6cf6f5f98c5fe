"""Tool verify: run the pipeline of the last commit from nothing in a clean clone, compare each output with dvc.lock,
and write a certificate. It exits with status 1 where anything but wall-clock figures differs."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="download again what was downloaded, too")
    parser.add_argument(
        "--check", action="store_true", help="run nothing: only check that the certificate is of HEAD, and a good one"
    )
    parser.add_argument("--results", type=Path, default=Path("results/verify"), help="folder for the certificate")
    a = parser.parse_args()
    if a.check:
        from formwork.tools.verify.certificate import check

        print(check(Path(), a.results))
        return
    from formwork.tools.verify.verify import verify

    verify(a.results, a.fetch)


if __name__ == "__main__":
    run(main)
