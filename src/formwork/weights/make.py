"""The stage weights: what model.weights names, as a file that training reads."""

from pathlib import Path

from formwork.params import Model
from formwork.weights.initial_file import write_initial, write_nothing


def make_initial(params: Model, folder: Path, output: Path) -> str:
    """Write the initial weights of a training.

    Args:
        folder: of the user's files.

    Returns:
        A sentence on what was written; "" where training starts from random weights.

    Raises:
        FormworkError: weights cannot be downloaded or read. Nothing is written then.
    """
    if params.weights is None:  # for everybody: imports nothing large, and needs no network
        write_nothing(output)
        return ""
    if params.weights == "default":
        from formwork.weights.published import published

        tensors, origin = published(params, output.parent)
    else:
        from formwork.weights.user_file import read_user_file

        tensors, origin = read_user_file(folder / params.weights)
    write_initial(output, tensors, origin)
    return f"{len(tensors)} tensors of {origin.source} (SHA-256 {origin.sha256[:12]}): {output}"
