"""Tool export: write a trained model for other programs, as ONNX, torch.export or safetensors, and beside it, in
FILE.json, how an image becomes its input. What answers otherwise than the model is not written."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="models/best.pt, as the stage train writes it")
    parser.add_argument("--format", help="onnx, torch or safetensors; default: by the extension of the output")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ends in .onnx, .pt2 or .safetensors; or a folder"
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FOLDER",
        help="images on which the answers are compared; default: the validation split, where it is there",
    )
    a = parser.parse_args()

    from formwork.startup import large_imports

    with large_imports():
        from formwork.tools.export.export import export
    print(export(a.model, a.format, a.output, a.check))


if __name__ == "__main__":
    run(main)
