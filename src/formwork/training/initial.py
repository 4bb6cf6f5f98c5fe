"""Starting from weights: those of models/initial.safetensors, put into the network that is to be trained."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from formwork.errors import FormworkError, ParamsError
from formwork.interim.settings import Settings
from formwork.models.build import build_model
from formwork.models.options import without_weights
from formwork.models.stem import first_convolution, is_small
from formwork.params import Model
from formwork.text import count
from formwork.weights.initial_file import Origin, read_initial
from formwork.yaml import dump_yaml

NAMED = 3
"""Parameters that a message names of those that do not fit."""
TOLERANCE = 0.005
"""Difference of means and deviations, in units of 0 to 1, that is no matter."""

Tensors = Mapping[str, Tensor]


def start_from(network: nn.Module, params: Model, settings: Settings, path: Path) -> list[str]:
    """Put initial weights into a network.

    The head starts at random where it has other shapes than in the file, or is not in it; so does the first convolution
    where the network has the stem for small images, and the weights are of another one. All else must fit.

    Args:
        network: of build_model; parameters that are frozen have no gradient already.
        settings: of the dataset that it is to be trained on.
        path: of the file that the stage weights wrote.

    Returns:
        Lines for the user: what was loaded, and where the weights were trained on other statistics.

    Raises:
        FormworkError: the file cannot be read, or does not fit; the message names what.
    """
    found, origin = read_initial(path)
    wanted = network.state_dict()
    tensors = _adapted(params, dict(_renamed(found, wanted, origin.lightning)), network)
    head = _head_names(params, network, settings)
    stem = _stem_names(params, network, settings)
    differ = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    missing = [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in tensors if name not in wanted]
    at_random = [name for name in wanted if name in head and name in (*missing, *differ)]
    at_random += [name for name in differ if name in stem]
    faults = {
        "missing": [name for name in missing if name not in at_random],
        "unexpected": unexpected,
        "of another shape": [
            f"{name} ({_shape(tensors[name])} in place of {_shape(wanted[name])})"
            for name in differ
            if name not in at_random
        ],
    }
    if any(faults.values()):
        raise _unfit(params, origin, faults, len(wanted), stem_differs=any("conv" in name for name in differ))
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    if still := [name for name in at_random if name in frozen]:
        advice = "set model.stem: original, or " if set(still) <= stem else ""
        raise ParamsError(
            f"model.freeze keeps {_some(still)} as at the start, which is random: {origin.source} has no weights for "
            f"it that fit. To go on, {advice}leave it out of model.freeze.",
            "model.freeze",
        )
    network.load_state_dict(wanted | {name: tensors[name] for name in tensors if name not in at_random})
    loaded = sum(name not in at_random for name in tensors)
    return list(_report(origin, settings, loaded, at_random))


def _head_names(params: Model, network: nn.Module, settings: Settings) -> set[str]:
    """Names of the tensors whose shape is decided by the number of outputs."""
    other = without_weights(lambda: build_model(params, settings.outputs + 1, settings.resolution)).state_dict()
    return {name for name, tensor in network.state_dict().items() if tensor.shape != other[name].shape}


def _stem_names(params: Model, network: nn.Module, settings: Settings) -> set[str]:
    """Names of the tensors that the stem for small images has in the place of others."""
    if not is_small(params, settings.resolution) or params.family in ("formwork", "own"):
        return set()
    original = params.model_copy(update={"stem": "original"})
    try:
        other = without_weights(lambda: build_model(original, settings.outputs, settings.resolution)).state_dict()
    except ParamsError:  # a vision transformer whose original patches do not fit into the images
        return {first_convolution(network)}
    return {
        name for name, tensor in network.state_dict().items() if tensor.dim() == 4 and tensor.shape != other[name].shape
    }


def _adapted(params: Model, tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """What the library of a model makes of weights for images of another size: position embeddings are interpolated."""
    match params.family:
        case "torchvision":
            from formwork.models import torchvision_models

            return torchvision_models.adapt(tensors, network)
        case "timm":
            from formwork.models import timm_models

            return timm_models.adapt(tensors, network)
    return tensors


def _renamed(tensors: Tensors, wanted: Tensors, lightning: bool) -> Tensors:
    """Without the prefixes that wrappers such as DistributedDataParallel and Lightning put before all names, where
    more names are those of the network without them."""
    tensors = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}  # of torch's AveragedModel
    return max(_candidates(tensors, lightning, depth=3), key=lambda one: len(one.keys() & wanted.keys()))


def _candidates(tensors: Tensors, lightning: bool, depth: int) -> Iterator[Tensors]:
    yield tensors
    prefixes = {name.partition(".")[0] for name in tensors if "." in name} if depth else ()
    for prefix in sorted(prefixes):
        below = {name.partition(".")[2]: tensors[name] for name in tensors if name.startswith(f"{prefix}.")}
        # A LightningModule has other parts beside the network, such as its loss and metrics.
        if lightning or len(below) == len(tensors):
            yield from _candidates(below, lightning=False, depth=depth - 1)


def _unfit(
    params: Model, origin: Origin, faults: Mapping[str, list[str]], names: int, stem_differs: bool
) -> FormworkError:
    if len(faults["missing"]) > names // 2 and faults["unexpected"]:
        advice = "They seem to be of another architecture: choose that model.name and model.options, or other weights."
    elif faults["of another shape"] and stem_differs and params.stem == "original":
        advice = "They may be of the stem for small images: try model.stem: auto."
    else:
        advice = "Choose the model.name and model.options that they were trained with, or other weights."
    lines = [f"  {len(found)} {fault}: {_some(found)}" for fault, found in faults.items() if found]
    start = f"The weights of {origin.source} do not fit model.name {params.name}, which has {count(names, 'tensor')}:"
    return ParamsError("\n".join([start, *lines, advice]), "model.weights", "model.name")


def _report(origin: Origin, settings: Settings, loaded: int, at_random: list[str]) -> Iterator[str]:
    random = f"; at random start {_some(at_random)}" if at_random else ""
    yield f"Starting from {origin.source}: {count(loaded, 'tensor')}{random}."
    if not (origin.mean and origin.std):
        return
    pairs = zip((*origin.mean, *origin.std), (*settings.mean, *settings.std), strict=True)
    if all(abs(theirs - ours) <= TOLERANCE for theirs, ours in pairs):
        return
    size = f" of {origin.size} pixels" if origin.size else ""
    yield (
        f"These weights were trained on images{size} that were normalised otherwise than those of {settings.name}. To "
        "normalise these in the same way, in params.yaml:"
    )
    section = {"datasets": {settings.name: {"mean": origin.mean, "std": origin.std}}}
    yield from (f"  {line}" for line in dump_yaml(section).splitlines())


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
