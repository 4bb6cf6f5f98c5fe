"""The processes of one training: what they tell each other, and what becomes of all when one ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.strategies.launchers import subprocess_script

from formwork import signals
from formwork.errors import FormworkError, ParamsError

LOOK_SECONDS = 0.5  # between two looks at the processes that this one started
PATIENCE_SECONDS = 5.0  # that a process has to say itself why it ends, when another has ended
TOLD: dict[int, int] = {  # signals by which one process tells another which signal it got; macOS has none to spare
    number: signal.SIGRTMIN + 1 + place for place, number in enumerate(signals.ENDING) if hasattr(signal, "SIGRTMIN")
}
MEANT = {told: number for number, told in TOLD.items()}


class Ranks:
    """Of one training, seen from one of them.

    Attributes:
        first: this is the one that speaks to the user.
        launched: another one started this one, and ends it, too.
    """

    def __init__(self) -> None:
        self.launched = signals.led()
        self.first = getattr(rank_zero_only, "rank", 0) == 0 and not self.launched
        self.trainer: pl.Trainer | None = None
        if self.launched:
            signals.end_with_parent(signal.SIGKILL)

    @property
    def started(self) -> list[subprocess.Popen]:
        """The processes that this one started."""
        return getattr(self.trainer.strategy.launcher, "procs", []) if self.trainer else []

    def tell(self, number: int, told_by_parent: bool) -> None:
        """Tell the others of a signal that this process got."""
        if number in TOLD:
            if self.launched and not told_by_parent:
                os.kill(os.getppid(), TOLD[number])
            for process in self.started:
                process.send_signal(TOLD[number])

    def highest(self, number: int) -> int:
        """The highest of the numbers that all ranks give, which ask together."""
        assert self.trainer is not None
        if self.trainer.world_size == 1:
            return number
        tensor = torch.tensor(number, device=self.trainer.strategy.root_device)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
        return int(tensor)

    def watch(self, trainer: pl.Trainer) -> None:
        """End this process when one that it started has failed, and say so. Lightning would kill it without a word.

        Raises:
            ParamsError: the environment was made for another number of processes.
        """
        self.trainer = trainer
        launcher = trainer.strategy.launcher
        if isinstance(launcher, subprocess_script._SubprocessScriptLauncher):
            check_environment(trainer, launcher)
            os.environ[signals.LEADER] = str(os.getpid())
            subprocess_script._launch_process_observer = self._start_watching  # type: ignore[assignment]

    def _start_watching(self, processes: list[subprocess.Popen]) -> None:
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        while not self.failure():
            time.sleep(LOOK_SECONDS)
        for process in self.started:
            status = process.returncode or 0
            number = -status if status < 0 else status - 128
            if number in TOLD:  # it came before that process could tell of it
                os.kill(os.getpid(), TOLD[number])
        time.sleep(PATIENCE_SECONDS)
        sys.stdout.flush()
        print(f"ERROR: {self.failure()}", file=sys.stderr, flush=True)
        os._exit(1)

    def failure(self) -> str:
        """What is to be said of a process that this one started and that has failed; "" if none has."""
        for rank, process in enumerate(self.started, start=1):
            status = process.poll()
            if status and status < 0:
                how = f"was killed by {signal.Signals(-status).name}"
                return f"Process {rank} of the training {how}, often for lack of memory. {AGAIN}"
            if status:
                return f"Process {rank} of the training failed, for the reason above. {AGAIN}"
        return ""

    def lost(self, error: BaseException) -> bool:
        """Whether `error` may have come about because another process of the training has ended."""
        several = self.trainer is not None and self.trainer.world_size > 1
        return several and isinstance(error, Exception) and not isinstance(error, FormworkError)

    def explain(self, error: Exception) -> None:
        """Raise a FormworkError if `error` came about because another process of the training has ended.

        It waits for that: a broken connection is seen before its cause.
        """
        if not self.lost(error):
            return
        deadline = time.monotonic() + PATIENCE_SECONDS / 2
        while time.monotonic() < deadline:
            if failure := self.failure():
                raise FormworkError(failure) from error
            time.sleep(0.05)  # in which the first process ends this one, if it has ended


AGAIN = "The next run goes on from the last checkpoint, if there is one."


def check_environment(trainer: pl.Trainer, launcher: subprocess_script._SubprocessScriptLauncher) -> None:
    """Refuse what torchrun, SLURM and the like were told, if params.yaml says otherwise.

    Raises:
        ParamsError: they start another number of processes.
    """
    environment = launcher.cluster_environment
    ours = trainer.num_devices * trainer.num_nodes
    size = environment.world_size() if environment.creates_processes_externally else ours
    try:
        environment.validate_settings(num_devices=trainer.num_devices, num_nodes=trainer.num_nodes)
        fits = size == ours
    except ValueError:
        fits = False
    if not fits:
        raise ParamsError(
            f"This process is one of {size} that {type(environment).__name__.removesuffix('Environment')} started, and "
            f"trainer.devices in params.yaml makes {ours} of them, on one machine. Set trainer.devices "
            f"to the number of processes, on one node; or start one process, which starts the others."
        )
