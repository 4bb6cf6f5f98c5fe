"""The file of initial weights: safetensors, with a record of where they are from in its metadata.

The same weights give the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import safetensors
from pydantic import BaseModel, ConfigDict

from formwork.errors import FormworkError
from formwork.files import atomic_write

if TYPE_CHECKING:
    from torch import Tensor  # which the file of a training from random weights needs not

KEY = "formwork"  # the only one: the order of several would change from run to run


class Origin(BaseModel):
    """Where weights are from.

    Attributes:
        source: a URL, or the path of a file in the repository.
        sha256: of that file.
        mean, std: by channel, that the images were normalised with which the weights were trained, where it is known.
        size: side of those images in pixels, where it is known.
        lightning: the file is a checkpoint of PyTorch Lightning: its names are those of a LightningModule, which has
            other parts beside the network.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    sha256: str
    mean: list[float] | None = None
    std: list[float] | None = None
    size: int | None = None
    lightning: bool = False


def write_nothing(path: Path) -> None:
    """The file of a training that starts from random weights: always the same."""
    with atomic_write(path) as file:
        file.write(safetensors.serialize({}, {KEY: "null"}))


def write_initial(path: Path, tensors: "dict[str, Tensor]", origin: Origin) -> None:
    from safetensors.torch import save

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none shares memory
    with atomic_write(path) as file:
        file.write(save(own, {KEY: origin.model_dump_json()}))


def read_initial(path: Path) -> "tuple[dict[str, Tensor], Origin]":
    """What write_initial wrote.

    Raises:
        FormworkError: the file is missing, damaged, or holds no weights.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            record = (file.metadata() or {}).get(KEY, "null")
            if record != "null":
                return {name: file.get_tensor(name) for name in file.keys()}, Origin.model_validate_json(record)  # noqa: SIM118
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro weights`.") from error
    except Exception as error:  # safetensors raises an error of its own on damaged files
        raise FormworkError(f"{path} cannot be read ({error}). Run `dvc repro -f weights`.") from error
    raise FormworkError(f"{path} holds no weights, and model.weights in params.yaml asks for some. Run `dvc repro`.")
