"""The schedule of the learning rate, from one step of the optimiser to the next."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from formwork.errors import ParamsError
from formwork.params import Train
from formwork.params.schedules import OneCycle, Step, ToEnd


def build_schedule(optimizer: Optimizer, params: Train, steps: int, steps_per_epoch: int) -> LRScheduler:
    """The schedule of train.schedule, of which every group of weights has its own learning rate as the peak.

    Args:
        steps: of the optimiser, in the whole training.

    Raises:
        ParamsError: the optimiser has no momentum that one_cycle could change as it is told to.
    """
    options = params.parsed_schedule_options
    if isinstance(options, OneCycle):
        return _one_cycle(optimizer, params, options, steps)
    return LambdaLR(optimizer, factor_of(params, steps, steps_per_epoch))


def factor_of(params: Train, steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """A function of the number of steps that were done, k: the factor of the learning rate in the step after them.

    With w steps of warm-up of n in all, it is (k + 1) / (w + 1) before k = w; then, where t = (k - w) / (n - w),

    cosine: end + (1 - end) (1 + cos(pi t)) / 2, see I. Loshchilov and F. Hutter, "SGDR", ICLR 2017, without restarts
    linear: 1 - (1 - end) t
    step: gamma to the power of the number of milestones that k has reached
    """
    options = params.parsed_schedule_options
    warmup = round(params.warmup_epochs * steps_per_epoch)

    def after_warmup(k: int) -> float:
        if isinstance(options, Step):
            reached = sum(k >= round(milestone * steps_per_epoch) for milestone in options.milestones)
            return options.gamma**reached
        if isinstance(options, ToEnd):
            t = min((k - warmup) / max(steps - warmup, 1), 1.0)
            left = (1 + math.cos(math.pi * t)) / 2 if params.schedule == "cosine" else 1 - t
            return options.end_factor + (1 - options.end_factor) * left
        return 1.0

    return lambda k: (k + 1) / (warmup + 1) if k < warmup else after_warmup(k)


def _one_cycle(optimizer: Optimizer, params: Train, options: OneCycle, steps: int) -> OneCycleLR:
    values = options.model_dump()
    if options.cycle_momentum is None:
        values["cycle_momentum"] = "betas" in optimizer.defaults and "betas" not in params.optimizer_options
    if options.pct_start * steps == 1:  # torch would divide by 0 where the rise takes no step
        values["pct_start"] = math.nextafter(options.pct_start, 0)
    try:
        return OneCycleLR(
            optimizer, max_lr=[group["lr"] for group in optimizer.param_groups], total_steps=steps, **values
        )
    except ValueError as error:
        raise ParamsError(
            f"train.schedule_options: {params.optimizer} has no momentum that cycle_momentum could change. Set "
            "train.schedule_options: {cycle_momentum: false}.",
            "train.schedule_options",
        ) from error
