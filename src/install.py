"""Tool setup: install the packages of requirements.txt into .venv, and ffcv where this machine can build it.

Needs Python >= 3.10, no other package. May be called at any time and by several processes at once:
with nothing to do it ends at once; what was interrupted, or moved to another path, is made anew.
Exit status 0 means ready. Otherwise the last lines say what went wrong and what to do.

Environment variables:
  FORMWORK_VENV=/path    the environment is there, instead of in .venv (which may also be a link)
  FORMWORK_TORCH=cpu     PyTorch for the CPU alone, 2 GB less to download; =pypi: for CUDA again;
                         =https://...: a mirror of https://download.pytorch.org/whl/cpu
"""

import argparse
import platform
import signal
import sys
from pathlib import Path


def main() -> int:
    from formwork import signals
    from formwork.errors import FormworkError
    from formwork.tools.setup.setup import setup

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ffcv", action="store_true", help="build ffcv again")
    arguments = parser.parse_args()
    try:
        with signals.raised():
            setup(Path(__file__).resolve().parent.parent, rebuild_ffcv=arguments.ffcv)
    except (FormworkError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        number = signals.received() or signal.SIGINT
        print(f"setup: received {number.name}; the next `make setup` starts over.", file=sys.stderr)
        return 128 + number
    return 0


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - older ones stop at what is imported next
        sys.exit(f"setup: Python 3.10 or newer is needed, this is {platform.python_version()}.")
    sys.exit(main())
