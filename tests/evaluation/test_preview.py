"""The preview shows the images of both loaders, and needs no model."""

import numpy as np
from PIL import Image

from formwork.evaluation.preview import preview
from tests.training.conftest import COLOURS, folders_of, make_params, project

__all__ = ["project"]  # a fixture


def test_both_loaders_give_the_images_that_it_shows(project, tmp_path):
    preview(make_params(), folders_of(project), tmp_path / "preview.png")
    picture = np.asarray(Image.open(tmp_path / "preview.png").convert("RGB")).astype(int)
    rows = np.array_split(picture[60:], 4)  # train and val, each from FFCV above PyTorch; the title above them
    for colour in COLOURS.values():  # noise of up to 60 around each
        near = [np.count_nonzero(np.all(np.abs(row - colour) < 60, axis=-1)) for row in rows]
        assert near[0] > 0
        assert near[2] > 0
        assert near[1] > 0.8 * near[0]
        assert near[3] > 0.8 * near[2]
