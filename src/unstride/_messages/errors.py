"""The exceptions that the library raises for arguments that it cannot take."""

from __future__ import annotations

from typing import Any

Crop = tuple[int, int]


class ArgumentError(ValueError):
    """An argument with a value that it cannot have. The message names it, its value and what was expected."""


class GeometryError(ArgumentError):
    """Arguments, or arguments and sizes together, that describe no convolution."""


class NotExpressible(ValueError):  # noqa: N818 - the public name: it reads as what it says
    """A geometry that a framework cannot compute in one call. The message ends with the nearest recipe.

    Attributes
    ----------
    framework : str
    reason : str
        What the framework lacks.
    recipe : str
        How to compute it there all the same.
    arguments : dict or None
        The framework's arguments for the call that the recipe starts from, if it starts from one.
    crops : tuple of (begin, end) or None
        What is left to crop (positive) or to extend with zeros (negative) after that call.
    """

    def __init__(
        self,
        framework: str,
        reason: str,
        recipe: str,
        arguments: dict[str, Any] | None = None,
        crops: tuple[Crop, ...] | None = None,
    ) -> None:
        super().__init__(f"{framework} cannot express this geometry in one call: {reason}. Instead: {recipe}.")
        self.framework = framework
        self.reason = reason
        self.recipe = recipe
        self.arguments = arguments
        self.crops = crops


for _error in (ArgumentError, GeometryError, NotExpressible):
    _error.__module__ = "unstride"  # where users find them, and what a traceback says
