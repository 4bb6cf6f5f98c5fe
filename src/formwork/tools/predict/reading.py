"""The training image of an image that an argument names, or why it cannot be had."""

import torch

from formwork.datasets.verify_file import BadFile, File, with_content
from formwork.errors import FormworkError
from formwork.images.pixels import decode
from formwork.prediction.preprocessing import Preprocessing
from formwork.tools.predict.arguments import Named


def training_image(preprocessing: Preprocessing, image: Named, number: int) -> torch.Tensor | str:
    """(3, S, S) uint8; or the problem, one line.

    Args:
        number: of the image, see Preprocessing.training_image.
    """
    if image.problem:
        return image.problem
    try:
        found = with_content(
            image.root,
            File(image.path, image.span),
            lambda data, *_: preprocessing.training_image(decode(data).rgb, number),
        )
    except FormworkError as error:  # of memory or a disk: another image may fare better
        return str(error)
    return f"{found.kind}: {found.reason}" if isinstance(found, BadFile) else found
