"""A second process starts at once: it finds every kernel compiled, whatever workspace it runs in."""

import pickle

import pytest

from tests.kernels.test_cache import copied, run
from tests.loading.conftest import TRAIN, make_config

pytestmark = pytest.mark.slow

LOAD = """
import pickle, sys
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    from formwork.loading.ffcv_loader import FFCVDataLoader
    with open(sys.argv[1], "rb") as file:
        split, all_options = pickle.load(file)
    images = 0
    for options in all_options:
        for _ in range(2):
            images += sum(len(labels) for _, labels in FFCVDataLoader(split, options))
from formwork.kernels.cache import cache_folder, source_digest
if not compiled.buffer:
    import numba, numpy
    assert "numba.np.linalg" not in sys.modules  # what compiling needs, and a first batch would wait for
    assert numba.njit(lambda x: numpy.sqrt(x).sum())(numpy.array([4.0, 9.0])) == 5  # and yet others can be compiled
print(images, len(compiled.buffer), cache_folder(source_digest()))
"""


def test_a_second_process_compiles_nothing_in_any_workspace_with_any_options(split, tmp_path):
    (tmp_path / "plain").write_bytes(pickle.dumps((split, [make_config()])))
    images, compilations, folder = run(LOAD, tmp_path / "cache", tmp_path / "plain")
    assert (images, folder.parents[2]) == (140, tmp_path / "cache")
    assert compilations > 0

    others = [
        make_config(os_cache=False, order="random", batch_size=7, num_workers=1),
        make_config([{"CenterCrop": {"ratio": 0.8}}], resolution_schedule=((0, 12), (1, 30))),
        make_config([{"RandomResizedCrop": {"scale": [0.5, 0.9]}}, *TRAIN[1:]], order="quasi_random", timesteps=3),
    ]
    (tmp_path / "others").write_bytes(pickle.dumps((split, others)))
    sources = copied(tmp_path / "clone")
    assert run(LOAD, tmp_path / "cache", tmp_path / "others", sources=sources) == (420, 0, folder)
