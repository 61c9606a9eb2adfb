"""The tasks that models are trained for: each one's data, loss, figures and report. Keras comes when one builds."""

from __future__ import annotations

import importlib

from ..errors import OptionError
from .base import Metrics, Task

__all__ = ["NAMES", "Metrics", "Task", "get"]

NAMES = ("autoencoder", "compressor", "upscaler", "segmenter")
"""What `unstride train` can train."""


def get(name: str) -> Task:
    """The task of that name; its module, and with it Pillow, is imported only now."""
    if name not in NAMES:
        raise OptionError(f"unknown model '{name}'; expected one of: {', '.join(NAMES)}")
    task: Task = importlib.import_module(f".{name}.task", __package__).TASK
    return task
