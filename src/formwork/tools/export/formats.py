"""The formats that a model is exported to: what is written, and how that is run to be checked.

Each file is a function of the model and the versions of the libraries: no names of this machine's files stand in it.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from formwork.errors import FormworkError
from formwork.models.model_file import SAFETENSORS, TrainedModel, as_safetensors, load_model
from formwork.tasks import task_of
from formwork.tasks.base import Task

INPUT, OUTPUT, BATCH = "images", "answers", "batch"
LARGEST_ONNX = 2 << 30  # bytes: what one message of its format can hold
EXAMPLES = 2  # images: of one, the size of the batch would be taken for a constant
SHAPES = ({0: torch.export.Dim(BATCH)},)

Runner = Callable[[np.ndarray], np.ndarray]
"""(B, 3, S, S) float32 to (B, K) float32."""


class Format(NamedTuple):
    """A format.

    Attributes:
        extension: of its files.
        packages: that it needs beside those of every installation.
        write: the bytes of a file.
        open: what runs these bytes, in the way that users do.
    """

    extension: str
    packages: tuple[str, ...]
    write: Callable[[TrainedModel], bytes]
    open: Callable[[bytes, TrainedModel], Runner]


class Answers(nn.Module):
    """A trained network with what makes answers of its outputs: probabilities, or numbers in the user's units."""

    def __init__(self, network: nn.Module, task: Task):
        super().__init__()
        self.network = network
        self._task = task

    def forward(self, images: Tensor) -> Tensor:
        return self._task.answers(self.network(images))


def answers_of(trained: TrainedModel) -> Answers:
    return Answers(trained.network, task_of(trained.settings)).eval()


def _graph(trained: TrainedModel) -> torch.export.ExportedProgram:
    side = trained.settings.resolution
    return torch.export.export(answers_of(trained), (torch.zeros(EXAMPLES, 3, side, side),), dynamic_shapes=SHAPES)


# --- ONNX -----------------------------------------------------------------------------------------


def _write_onnx(trained: TrainedModel) -> bytes:
    program = torch.onnx.export(
        _graph(trained),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=SHAPES,
        verbose=False,
    )
    assert program is not None  # it is None for a file alone
    model = program.model_proto
    if model.ByteSize() > LARGEST_ONNX:
        raise FormworkError(f"The network is too large for one ONNX file: {model.ByteSize() / 1e9:.1f} GB.")
    _forget_sources(model)
    return model.SerializeToString()


def _forget_sources(model: Any) -> None:
    """Remove from an ONNX ModelProto which lines of code each node comes from."""
    graph = model.graph
    for part in (model, graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *graph.node):
        del part.metadata_props[:]
    for function in model.functions:
        for part in (function, *function.node, *function.value_info):
            del part.metadata_props[:]


def _open_onnx(data: bytes, trained: TrainedModel) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


# --- torch.export ---------------------------------------------------------------------------------


def _write_torch(trained: TrainedModel) -> bytes:
    program = _graph(trained)
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    file = io.BytesIO()
    torch.export.save(program, file)
    return file.getvalue()


def _open_torch(data: bytes, trained: TrainedModel) -> Runner:
    module = torch.export.load(io.BytesIO(data)).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


# --- safetensors ----------------------------------------------------------------------------------


def _open_safetensors(data: bytes, trained: TrainedModel) -> Runner:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"model{SAFETENSORS}"
        path.write_bytes(data)
        module = answers_of(load_model(path))
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx),
    "torch": Format(".pt2", (), _write_torch, _open_torch),
    "safetensors": Format(SAFETENSORS, ("safetensors",), as_safetensors, _open_safetensors),
}


def write(name: str, trained: TrainedModel) -> bytes:
    """The file of a model in a format.

    Raises:
        FormworkError: a package is missing, or the network cannot be had in this format.
    """
    need(name)
    try:
        with quiet():
            return FORMATS[name].write(trained)
    except FormworkError:
        raise
    except Exception as error:  # the exporters raise many kinds, with pages of advice on their own internals
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        other = "" if name == "safetensors" else " --format safetensors takes any network."
        raise FormworkError(
            f"{trained.params.name} cannot be exported to {name}: {type(error).__name__}: {reason}.{other}"
        ) from error


def need(name: str) -> None:
    """Raises FormworkError: a package that a format needs is not installed."""
    for package in FORMATS[name].packages:
        if find_spec(package) is None:
            raise FormworkError(
                f"The format {name} needs the package {package}. Install it: `make setup` in this repository, "
                "`pip install 'formwork[export]'` elsewhere."
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters warn of, log and print, which is about their own code."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
