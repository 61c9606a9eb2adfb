"""The exceptions that the library raises for arguments that it cannot take."""

from __future__ import annotations

from typing import Any

Crop = tuple[int, int]


class ArgumentError(ValueError):
    """An argument with an illegal value. The message names the argument, its value and what was expected."""


class GeometryError(ArgumentError):
    """Arguments, or arguments and sizes together, that describe no convolution."""


class NotExpressible(ValueError):  # noqa: N818 - the public name
    """A geometry that a framework cannot compute in one call. The message ends with the nearest recipe.

    Attributes
    ----------
    framework : str
    reason : str
        The feature that the framework lacks.
    recipe : str
        Instructions for computing it in the framework nevertheless.
    arguments : dict or None
        The framework's arguments for the first call of the recipe, if it starts with one.
    crops : tuple of (begin, end) or None
        The cells to crop (positive) or the zeros to add (negative) after that call.
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
    _error.__module__ = "unstride"  # the public module, which tracebacks show
