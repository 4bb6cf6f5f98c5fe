"""Less of what Lightning does around each step; epoch_loop.py has the step itself.

A step of a small model takes milliseconds, in which the training thread shares the cores with the loader's threads.
Nothing here changes a result. FORMWORK_LIGHTNING=plain turns all of it off. docs/benchmarks.md has what is left, and
`python benchmarks/run.py lightning` measures it.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler

from formwork.training.import_lightning import PLAIN

SWITCH_SECONDS = 0.0005
PLAIN_TYPES = {bool, float, int, str, type(None)}


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own default, but without a generator around each of dozens of hooks a step."""

    NOTHING = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]  # any will do
        return self.NOTHING


class LowOverheadModule(pl.LightningModule):
    """A LightningModule whose plain attributes are set at once.

    Lightning writes the name of the running hook into the module, before and after each hook. torch's __setattr__
    searches parameters, buffers and submodules, which an attribute in __dict__ cannot be among if its value is plain.
    """

    if not PLAIN:

        def __setattr__(self, name: str, value: Any) -> None:
            attributes = self.__dict__
            if type(value) in PLAIN_TYPES and name in attributes:
                attributes[name] = value
            else:
                super().__setattr__(name, value)


def reduce_step_overhead() -> None:
    """Settings of the whole process, for one that trains and does nothing else."""
    if PLAIN:
        return
    # Threads of the loader need the GIL for a moment between compiled parts, and would wait for it as long as a step
    # takes.
    sys.setswitchinterval(SWITCH_SECONDS)
    # AdamW asks in each step whether there is a GPU. Lightning makes torch ask NVIDIA's library, in order not to start
    # CUDA; where there is none, torch looks for that library in the file system each time.
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
