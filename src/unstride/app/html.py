"""HTML from the Jinja templates of a folder: reports and the lab's own pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


def render(folder: Path, template: str, filters: dict[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """The page that a template makes of the values; all text in them is escaped.

    Raises
    ------
    jinja2.UndefinedError
        The template needs a value that is missing.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(values)
