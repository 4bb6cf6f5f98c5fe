"""The train stage."""

import logging
import os
import sys
import time
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from formwork import signals
from formwork.errors import ParamsError
from formwork.folders import Folders
from formwork.loading.project import ProjectData
from formwork.loading.targets import targets_of
from formwork.meeting import Meeting
from formwork.models.model_file import save_model
from formwork.params import Params, Trainer
from formwork.system import PeakMemory
from formwork.text import count, score
from formwork.training.best_epoch import BestEpoch
from formwork.training.callbacks import EpochLines, EpochLogger
from formwork.training.compilation import compile_network, explained
from formwork.training.datamodule import ImageDataModule
from formwork.training.ema import AveragedWeights
from formwork.training.epoch_loop import EpochLoop
from formwork.training.facts import facts
from formwork.training.finite import FiniteLosses
from formwork.training.geometry import check_loss, check_model
from formwork.training.import_lightning import PLAIN
from formwork.training.initial import start_from
from formwork.training.interruption import Interruption
from formwork.training.lightning_overhead import NoProfiler, reduce_step_overhead
from formwork.training.loggers import OtherLoggers
from formwork.training.module import ImageModule
from formwork.training.ranks import Ranks, environment_of
from formwork.training.recipe import check_limit, check_recipe
from formwork.training.resume import (
    NEXT,
    CheckpointFile,
    NotFiniteError,
    PeriodicCheckpoint,
    checkpoint_path,
    find_checkpoint,
)

INITIAL = Path("models/initial.safetensors")


def train(
    params: Params,
    folders: Folders,
    model_file: Path,
    results: Path,
    speed: Path,
    meeting: Meeting | None = None,
    initial: Path = INITIAL,
) -> None:
    """Train the model of params.yaml and keep its best epoch on the validation split, by the score of the task.

    An interrupted run is resumed from its last checkpoint, if nothing that it depends on has changed.

    Args:
        model_file: where the best model is written.
        results, speed: folders for DVCLive's files, see EpochLogger.
        meeting: of the processes that torchrun or srun started; only the first of them writes.
        initial: file of the weights that it starts from, where model.weights names some.

    Raises:
        FormworkError: see formwork.errors.
        Interrupted: a signal; the run can be resumed from its last checkpoint.
    """
    ranks = Ranks(meeting)
    try:
        with Interruption(ranks) as interruption:
            _train(params, folders, model_file, results, speed, interruption, initial)
    except NotFiniteError:
        if not ranks.first:
            sys.exit(1)  # the first one says so
        raise
    except Exception as error:
        ranks.explain(error)
        raise
    finally:
        if not ranks.launched:
            os.environ.pop(signals.LEADER, None)


def _train(
    params: Params,
    folders: Folders,
    model_file: Path,
    results: Path,
    speed: Path,
    interruption: Interruption,
    initial: Path,
) -> None:
    start, ranks = time.monotonic(), interruption.ranks
    set_up_process(params.seed)
    data = ProjectData(params, folders)
    data.need_betons()
    settings = data.settings
    targets = targets_of(data.splits["train"].manifest, settings.class_names)
    module = ImageModule(params, settings, targets)
    if params.model.weights:
        lines = start_from(module.model, params.model, settings, initial)
        if ranks.first:
            print("\n".join(lines), flush=True)
    datamodule, memory = ImageDataModule(data), own_memory()
    best = BestEpoch(params.trainer.monitor, params.trainer.early_stopping)
    logger = EpochLogger(results, speed, datamodule, memory)
    losses = FiniteLosses() if params.train.on_nan == "error" else None
    minutes = params.trainer.checkpoint_minutes
    resume = checkpoint_path(model_file.parent / ".resume", params, folders, initial)
    checkpoint = find_checkpoint(resume) if minutes is not None and ranks.meeting.first else None
    checkpoints = PeriodicCheckpoint(resume, minutes, interruption, losses, advice(params))
    average = AveragedWeights(params.train.ema) if params.train.ema is not None else None
    others = OtherLoggers(params, logger)
    callbacks = [losses, average, best, logger, others, checkpoints, EpochLines(logger)]
    trainer = build_trainer(params.trainer, [callback for callback in callbacks if callback], ranks)
    ranks.watch(trainer)
    check_recipe(module.model, params)
    check_limit(params, len(data.splits["train"].manifest))
    devices = trainer.num_nodes * trainer.num_devices
    check_loss(module.model, params, settings.task, settings.resolution, devices, settings.outputs, targets)
    check_model(module.model, params, settings.resolution, devices, settings.outputs)
    goes_on = ranks.meeting.agree(lambda: facts(params, folders, data, initial), "goes on" if checkpoint else "")
    if checkpoint and ranks.first:
        print(f"Going on from step {checkpoint['global_step']} of an interrupted run: {resume}", flush=True)
    compile_network(module.model, params.trainer)  # after it was tried with other sizes
    with memory, explained(params.trainer):
        trainer.fit(module, datamodule=datamodule, ckpt_path=resume if goes_on else None, weights_only=True)
    if not trainer.is_global_zero:
        return
    interruption.begin()
    interruption.outcome = f"the training is done; {NEXT if minutes is not None else 'the next run starts anew.'}"
    if not best.weights:
        raise NotFiniteError(f"No epoch has finite losses, so there is no model to keep. {advice(params)}")
    save_model(model_file, params.model, settings, best.weights, best.epoch, best.metrics)
    reached = f"{module.task.score_title} {score(best.metrics[module.task.score])}"
    if best.validated < params.trainer.max_epochs:
        waited = count(best.validated - best.epoch, "epoch")
        print(f"Stopped early: {waited} without a better {best.monitored(module.task)}")
    print(
        f"Best epoch {best.epoch}, validation {reached}, in {time.monotonic() - start:.1f} s with "
        f"{data.loader_used}: {model_file}"
    )
    if not interruption.number:
        resume.unlink(missing_ok=True)


def advice(params: Params) -> str:
    """What to do where losses are not finite."""
    lower = [f"Lower train.lr, which is {params.train.lr:g}"]
    if "16" in params.trainer.precision:
        lower.append("set trainer.precision: 32-true")
    goes_on = "" if params.train.on_nan == "continue" else " With train.on_nan: continue it would go on."
    return f"{', or '.join(lower)}.{goes_on}"


def own_memory() -> PeakMemory:
    """Watches the memory of this process and its workers, while it is a context manager."""
    return PeakMemory(os.getpid(), every=0.5, files=False, share=0.01)


def set_up_process(seed: int) -> None:
    """Settings of the whole process: seeds, deterministic algorithms, and Lightning's messages off."""
    for name in ("pytorch_lightning", "lightning_fabric"):  # not their advice, and the hardware that they did not find
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # lightning calling torch
    warnings.filterwarnings("ignore", message="Found .* in eval mode at the start")  # those of model.freeze
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # where one process is meant
    pl.seed_everything(seed, workers=True, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    reduce_step_overhead()


def build_trainer(params: Trainer, callbacks: list[pl.Callback], ranks: Ranks | None = None) -> pl.Trainer:
    """Lightning's Trainer as this repository uses it.

    Raises:
        ParamsError: it does not suit this machine.
    """
    ranks = ranks or Ranks()
    try:
        trainer = pl.Trainer(
            max_epochs=params.max_epochs,
            num_nodes=params.num_nodes,
            devices=params.devices,
            strategy=params.strategy,
            precision=params.precision,
            accelerator=params.accelerator,
            accumulate_grad_batches=params.accumulate_grad_batches,
            gradient_clip_val=params.gradient_clip_val,
            gradient_clip_algorithm=params.gradient_clip_algorithm,
            limit_train_batches=params.limit_train_batches,
            check_val_every_n_epoch=params.check_val_every_n_epoch,
            sync_batchnorm=params.sync_batchnorm,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,  # BestEpoch and PeriodicCheckpoint do it
            use_distributed_sampler=False,  # our loaders share the batches out themselves
            enable_model_summary=False,
            enable_progress_bar=False,  # EpochLines has one
            plugins=[CheckpointFile(ranks), environment_of(ranks.meeting.process)],
            profiler=None if PLAIN else NoProfiler(),
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ParamsError(f"trainer in params.yaml does not suit this machine: {error}") from error
    on_cpu = trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu"
    if on_cpu and params.sync_batchnorm:
        raise ParamsError("trainer.sync_batchnorm needs GPUs: set it to false.", "trainer.sync_batchnorm")
    if on_cpu and "OMP_NUM_THREADS" not in os.environ:
        # As many as torchrun has it: sums of the same numbers would differ by how many processes a machine has.
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)
    if not PLAIN:
        trainer.fit_loop.epoch_loop = EpochLoop(trainer)
    # Lightning's own handlers would end a training with status 0, save elsewhere, and put a job of SLURM's in the queue
    # again; in the middle of a step, and in a process of several alone.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer
