"""Tool inspect_beton: what a beton holds and what it was made from, with a picture; --verify checks every sample."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.beton.faults import is_part
    from formwork.beton.read import open_beton
    from formwork.system import cores
    from formwork.tools.inspect.contents import contents_of, find_manifest
    from formwork.tools.inspect.describe import describe
    from formwork.tools.inspect.verify import verify

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "beton", type=Path, help="data/processed/<name>/<split>.beton, a part in it, or any FFCV file of images"
    )
    parser.add_argument("--verify", action="store_true", help="read and decode every sample, and name the bad ones")
    parser.add_argument("--manifest", type=Path, help="CSV that it was made from, to name sources of bad samples")
    parser.add_argument("--sheet", type=Path, help="PNG to draw; default: results/inspect/<name>_<split>.png")
    arguments = parser.parse_args()
    beton = open_beton(arguments.beton)
    contents = contents_of(beton, find_manifest(beton, arguments.manifest))
    print(describe(beton, contents))
    path = arguments.beton.absolute()  # its name says what it is, also where it is a link into a cache
    named = [path.parent.parent.name, path.parent.stem] if is_part(path) else [path.parent.name]
    sheet = arguments.sheet or Path("results/inspect") / f"{'_'.join([*named, path.stem])}.png"
    from formwork.tools.preview.contact_sheet import contact_sheet  # slow to import: an error need not wait for it

    contact_sheet(beton, contents, sheet)
    print(f"\nA few images of each class: {sheet}", flush=True)
    if arguments.verify:
        print(verify(beton, contents, cores()))


if __name__ == "__main__":
    run(main)
