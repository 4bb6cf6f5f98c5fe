"""The models, by the names of model.name in params.yaml. Each takes images (B, 3, H, W) and gives (B, outputs):
logits of classes or labels, or numbers (see formwork.tasks). A recurrent one takes (B, T, 3, H, W) and gives
(B, T, outputs), see models/presentation.py."""

from torch import nn

from formwork.models.rcnn import RecurrentCNN
from formwork.models.small_cnn import SmallCNN
from formwork.params import Model


def build_model(params: Model, outputs: int, resolution: int) -> nn.Module:
    """A model with random weights, drawn from torch's generator.

    Args:
        params: the section `model` of params.yaml.
        outputs: their number: of classes, labels or targets.
        resolution: side of its images in pixels, so that a model can suit them. Those that work at one size alone, as
            most transformers, take no other; all others take any.

    Raises:
        ParamsError: there is no model of that name, or its options or the resolution do not suit it.
    """
    # Libraries are imported where a model of theirs is built: torchvision takes a second, timm several.
    match params.family:
        case "formwork":
            return OURS[params.name](outputs, **params.options)
        case "torchvision":
            from formwork.models import torchvision_models

            return torchvision_models.build(params, outputs, resolution)
        case "timm":
            from formwork.models import timm_models

            return timm_models.build(params, outputs, resolution)
        case "own":
            from formwork.models import own_models

            return own_models.build(params, outputs, resolution)


OURS: dict[str, type[nn.Module]] = {"small_cnn": SmallCNN, "rcnn": RecurrentCNN}
"""The models of this package; params/model.py has the options of each."""
