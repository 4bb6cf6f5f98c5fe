"""model.freeze: parameters that are not trained."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from formwork.errors import ParamsError

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
"""Layers with statistics that training changes beside the parameters."""


def freeze(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Let parameters have no gradient, and the norm layers that are theirs be in evaluation mode.

    Args:
        patterns: of fnmatch over names of parameters; one that begins with ! takes out what earlier ones have matched.

    Returns:
        Names of these norm layers, which must stay in that mode: their running statistics then stay as they are.

    Raises:
        ParamsError: a pattern matches nothing, or nothing would be trained.
    """
    names = [name for name, _ in network.named_parameters()]
    for place, pattern in enumerate(patterns):
        matched = [name for name in names if fnmatchcase(name, pattern.removeprefix("!"))]
        if not matched:
            raise ParamsError(
                f"model.freeze has {pattern!r}, which matches no parameter of the model. {_nearest(pattern, names)}",
                "model.freeze",
            )
        if pattern.startswith("!") and not any(_is_frozen(name, patterns[:place]) for name in matched):
            raise ParamsError(
                f"model.freeze has {pattern!r}, which takes out what no pattern before it freezes. Put '*' first.",
                "model.freeze",
            )
    if patterns and all(_is_frozen(name, patterns) for name in names):
        raise ParamsError(
            f"model.freeze {list(patterns)} freezes every parameter, and nothing would be trained. Leave the head out: "
            f"add '!{names[-1].rpartition('.')[0]}.*'.",
            "model.freeze",
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not _is_frozen(name, patterns))
    # A layer may have no parameters of its own: what the pattern says of the name of its weight decides.
    norms = [
        name
        for name, module in network.named_modules()
        if isinstance(module, NORMS) and _is_frozen(f"{name}.weight", patterns)
    ]
    for name in norms:
        network.get_submodule(name).eval()
    return norms


def _is_frozen(name: str, patterns: Sequence[str]) -> bool:
    frozen = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            frozen = not pattern.startswith("!")
    return frozen


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """A sentence with the nearest patterns that match something."""
    parents = {
        ".".join(parts[:count]) for name in names if (parts := name.split(".")) for count in range(1, len(parts))
    }
    known = [f"{parent}.*" for parent in sorted(parents)] + list(names)
    wanted = pattern.removeprefix("!")
    if f"{wanted}.*" in known:
        near = [f"{wanted}.*"]
    else:
        near = get_close_matches(wanted, known, n=3, cutoff=0.3) or [names[0], names[-1]]
    return f"Did you mean {' or '.join(repr(one) for one in near)}?"
