"""What a loader needs in some tests: one small kernel, because all of them take many seconds to compile."""

import numpy as np


def compile_one(*arguments: object) -> None:
    from formwork.loading.random_numbers import _philox

    _philox(np.zeros((1, 4), np.uint64), (0, 1))
