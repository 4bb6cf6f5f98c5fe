"""What Lightning does around each step, for less.

A step of a small model takes milliseconds, in which the training thread shares the cores with the threads of the
loader. `python benchmarks/run.py lightning` measures what this is about.
"""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.profilers import PassThroughProfiler

SWITCH_SECONDS = 0.0005
PLAIN = {bool, float, int, str, type(None)}


class NoProfiler(PassThroughProfiler):
    """Lightning's own, which measures nothing, runs a generator around each of dozens of hooks a step all the same."""

    NOTHING = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:
        return self.NOTHING


class LeanModule(pl.LightningModule):
    """Lightning notes in the module which hook runs, before and after each. Setting an attribute of a torch Module goes
    through its parameters, buffers and submodules, which a plain value that is an attribute already cannot be among.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = self.__dict__
        if type(value) in PLAIN and name in attributes:
            attributes[name] = value
        else:
            super().__setattr__(name, value)


def set_up_steps() -> None:
    """What holds for the whole process. Made for one that trains and does nothing else."""
    # Threads of the loader need the interpreter's lock for a moment between compiled parts, and would wait for it for
    # as long as a step takes.
    sys.setswitchinterval(SWITCH_SECONDS)
    # AdamW asks in each step whether there is a GPU. The way that Lightning chose, in order not to start CUDA, looks
    # for NVIDIA's library in the file system each time where there is none.
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
