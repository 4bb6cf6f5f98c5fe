"""What differs by task: losses, metrics, and what the outputs of a model mean."""

from formwork.interim.settings import Settings
from formwork.tasks.base import Task
from formwork.tasks.classes import Classes
from formwork.tasks.multilabel import Multilabel
from formwork.tasks.regression import Regression

TASKS: tuple[type[Task], ...] = (Classes, Multilabel, Regression)


def task_of(settings: Settings) -> Task:
    """The task of a dataset."""
    (kind,) = (task for task in TASKS if task.name == settings.task)
    return kind(settings)
