"""The tasks, one for each model: its data, loss, metrics and report. Keras is imported when a model is built."""

from __future__ import annotations

import importlib

from ..errors import OptionError
from .base import Metrics, Task

__all__ = ["NAMES", "Metrics", "Task", "get"]

NAMES = ("autoencoder", "compressor", "upscaler", "segmenter")
"""The models that `unstride train` can train."""


def get(name: str) -> Task:
    """The task with this name. Its module, which needs Pillow, is imported here."""
    if name not in NAMES:
        raise OptionError(f"unknown model '{name}'; expected one of: {', '.join(NAMES)}")
    task: Task = importlib.import_module(f".{name}.task", __package__).TASK
    return task
