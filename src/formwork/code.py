"""Which code decides what: the one table behind dvc.yaml, resumable checkpoints and compiled kernels.

Entries are packages and modules of `formwork`. DVC does not follow imports, so dvc.yaml repeats the rows of STAGES;
tests/test_code.py compares both with all that a stage's script imports, directly and through others, at the top of a
module or inside a function; it names what is missing and what is too much.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent

LAYERS = (
    "params",
    "cluster",
    "kernels",
    "images",
    "interim",
    "sources",
    "datasets",
    "beton",
    "conversion",
    "loading",
    "models",
    "weights",
    "tasks",
    "training",
    "drawing",
    "evaluation",
    "prediction",
    "tools",
    "api",
)
"""The packages from the bottom up. Each imports none that comes after it; the modules beside them, such as errors.py,
import no package. Only the public names in __init__.py come from anywhere."""

STAGES = {
    "check": (),
    "try": (
        "kernels/__init__.py",
        "kernels/cache.py",
        "kernels/compile.py",
        "kernels/kept_only.py",
        "loading/__init__.py",
        "loading/augmentation",
        "loading/ffcv",
        "loading/random_numbers.py",
        "models",
        "training/__init__.py",
        "training/compilation.py",
        "training/freeze.py",
        "training/geometry.py",
        "training/import_lightning.py",
        "training/optimizers.py",
        "training/own_loss.py",
        "training/recipe.py",
        "training/schedules.py",
    ),
    "fetch": ("fetched.py", "litter.py", "sources"),
    "link": ("datasets", "escapes.py", "fetched.py", "formats.py", "images", "interim", "litter.py"),
    "convert": ("beton", "conversion", "formats.py", "images", "kernels"),
    "weights": ("weights",),
    "train": (
        "beton",
        "images",
        "interim",
        "kernels",
        "loading",
        "models",
        "tasks",
        "training",
        "weights/__init__.py",
        "weights/initial_file.py",
    ),
    "evaluate": (
        "beton",
        "drawing",
        "escapes.py",
        "evaluation",
        "formats.py",
        "images",
        "interim",
        "kernels",
        "loading",
        "models",
        "tasks",
    ),
}
"""What the outputs of a stage are made by, beside its script src/<stage>.py."""

CHECKPOINT = STAGES["train"]
"""What an interrupted training must go on with unchanged."""

KERNELS = ("beton", "kernels", "loading")
"""What a compiled kernel can contain: its own code, that of the kernels which it calls, and constants."""

WITH_OWN_CODE = ("try", "train", "evaluate")
"""Stages that run the user's code in src/own, and so depend on it, too."""

UNTRACKED = {
    "__init__.py": "names for notebooks, which no stage uses",
    "cluster": "decides on which machines work is done, and sees to it that the results are the same",
    "code.py": "this table: a change of it is a change of dvc.yaml, too",
    "earlier_parts.py": "finds what need not be made again, and changes no meaning of what is made",
    "errors.py": "words for people; no output holds them",
    "files.py": "puts bytes into place, and decides none of them",
    "folders.py": "paths that dvc.yaml passes to each stage",
    "git.py": "what was committed, for the words of an error",
    "launch.py": "how processes start, not what they make",
    "limits.py": "words for people; no output holds them",
    "meeting.py": "lets processes train together or stops them; no output holds what they say",
    "obstacles.py": "stops the pipeline or lets it run; no output holds what it finds",
    "parallel.py": "decides when work is done, not what it is",
    "own.py": "finds the code in src/own, which stages that run it depend on",
    "params": "stages track the values themselves; params.yaml states every default",
    "signals.py": "how a process ends, not what it makes",
    "processes.py": "how processes start and end, not what they make",
    "progress.py": "what people see while they wait",
    "startup.py": "how fast a process starts, not what it does",
    "streams.py": "what becomes of words for people",
    "system.py": "measures the machine: figures that differ from run to run anyway",
    "text.py": "words for people; no output holds them",
    "version.py": "a number for people; no output of a stage holds it",
    "yaml.py": "reads params: stages track the values themselves",
}
"""Modules that stages import, and none depends on, with the reason."""

UNTRACKED_BY = {
    ("check", "escapes.py"): "words for people; no output holds them",
    ("try", "escapes.py"): "words for people; no output holds them",
    ("fetch", "escapes.py"): "words for people; no output holds them",
    ("convert", "escapes.py"): "words for people; no output holds them",
    ("weights", "escapes.py"): "words for people; no output holds them",
    ("train", "escapes.py"): "words for people; no output holds them",
    ("train", "formats.py"): "it reads manifests and settings, and writes neither",
}
"""The same for single stages."""

UNUSED = {
    ("try", "models/model_file.py"): "trying again takes seconds",
    ("train", "kernels/decode.py"): "what only convert asks of the one decoder",
    ("train", "kernels/jpeg/first_codes.py"): "writes what the decoder reads",
    ("train", "kernels/jpeg/restart.py"): "writes what the decoder reads",
    ("evaluate", "kernels/decode.py"): "what only convert asks of the one decoder",
    ("evaluate", "kernels/jpeg/first_codes.py"): "writes what the decoder reads",
    ("evaluate", "kernels/jpeg/restart.py"): "writes what the decoder reads",
}
"""Modules in a package of STAGES that the stage does not import, with the reason."""

DYNAMIC = {
    "__init__.py": ("api.*", "errors.py", "params.*", "prediction.*"),
    "sources/fetch.py": ("sources.*",),
    "tools/doctor/environment.py": (),
    "training/import_lightning.py": (),
}
"""Modules that import by a name made at run time, and which modules of this package that can be."""


def code_digest(parts: Iterable[str], own: Path | None = None, package: Path | None = None) -> str:
    """SHA-256 of the Python files of this package that `parts` names, and of those in the folder `own`.

    Args:
        package: that of another workspace, in place of this one.
    """
    root = package or PACKAGE
    files = {path.relative_to(root).as_posix(): path for part in parts for path in _python_files(root / part)}
    if own:
        files |= {f"own/{path.relative_to(own).as_posix()}": path for path in _python_files(own)}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if name.endswith(".py"))
