"""The processes of one training: what they tell each other, and what becomes of all when one ends."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from pytorch_lightning.strategies.launchers import subprocess_script

from formwork import launch, signals
from formwork.errors import FormworkError, ParamsError
from formwork.meeting import AGAIN, GONE, Meeting

LOOK_SECONDS = 0.5  # between two looks at the processes that this one started
PATIENCE_SECONDS = 5.0  # that a process has to say itself why it ends, when another has ended
TOLD: dict[int, int] = {  # signals by which one process tells another which signal it got; macOS has none to spare
    number: signal.SIGRTMIN + 1 + place for place, number in enumerate(signals.ENDING) if hasattr(signal, "SIGRTMIN")
}
BROKEN = re.compile("gloo|nccl|connection|socket|peer", re.IGNORECASE)  # in words of torch.distributed
MEANT = {told: number for number, told in TOLD.items()}


class Ranks:
    """Of one training, seen from one of them.

    Attributes:
        first: this is the one that speaks to the user.
        launched: another one started this one, and ends it, too.
        meeting: of processes that torchrun or srun started.
    """

    def __init__(self, meeting: Meeting | None = None) -> None:
        self.meeting = meeting or Meeting(None)
        self.launched = signals.led()
        self.first = self.meeting.first and not self.launched
        self.trainer: pl.Trainer | None = None

    @property
    def started(self) -> list[subprocess.Popen]:
        """The processes that this one started."""
        return getattr(self.trainer.strategy.launcher, "procs", []) if self.trainer else []

    def tell(self, number: int, told: bool) -> None:
        """Tell the others of a signal that this process got, or was told of by one of them."""
        if number in TOLD:
            if self.launched and not told:
                os.kill(os.getppid(), TOLD[number])
            for process in self.started:
                process.send_signal(TOLD[number])
            if not told:
                self.meeting.tell_signal(number)

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
            ParamsError: torchrun or srun started another number of processes than there are to be.
        """
        self.trainer = trainer
        process, launcher = self.meeting.process, trainer.strategy.launcher
        ours = isinstance(launcher, subprocess_script._SubprocessScriptLauncher)
        launch.check(process, trainer.num_nodes, trainer.num_devices)
        if process and process.world_size > 1 and not ours:
            raise ParamsError(
                f"trainer.strategy in params.yaml starts processes by itself, and {process.launcher} has started them: "
                "set trainer.strategy: ddp."
            )
        if ours and not process:
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
        if self.meeting.process and isinstance(error, RuntimeError) and BROKEN.search(str(error)):
            raise FormworkError(f"{GONE} {AGAIN}") from error


def environment_of(process: launch.Process | None) -> ClusterEnvironment:
    """What Lightning asks about the processes of a training."""
    return Launched(process) if process else LightningEnvironment()


class Launched(ClusterEnvironment):
    """Processes that torchrun or srun started, as this package found them. What Lightning finds out itself by its own
    classes is less: it takes a batch script of SLURM for a task of srun, and RANK without LOCAL_RANK for nothing."""

    def __init__(self, process: launch.Process):
        super().__init__()
        self.process = process

    creates_processes_externally = True
    main_address = property(lambda self: self.process.address)
    main_port = property(lambda self: self.process.port)

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.process.world_size

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self.process.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return self.process.local_rank

    def node_rank(self) -> int:
        return self.process.node
