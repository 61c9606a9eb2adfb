"""``unstride lab --edit``: the chapters' code in marimo's editor.

What is edited is a copy in the reader's own folder: the package stays as it was installed, and changes are kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..runs import OptionError
from .chapters import CHAPTERS, NOTEBOOKS, Chapter


def copied(folder: Path) -> list[Path]:
    """Put the notebooks and their style sheet into `folder`, but leave what is there; what was written."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"--folder {folder} is a file; expected a folder, or the name of a new one")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for source in (*(chapter.notebook for chapter in CHAPTERS), NOTEBOOKS / "lab.css"):
        target = folder / source.name
        if not target.exists():
            shutil.copyfile(source, target)
            written.append(target)
    return written


def edit(chapter: Chapter | None, folder: str, host: str, port: int, token: str | None, *, browser: bool) -> int:
    """Open marimo's editor on the copy, of one chapter or of the folder, until it is closed; its exit code."""
    place = Path(folder)
    copied(place)
    target = place / chapter.notebook.name if chapter else place
    command = [sys.executable, "-m", "marimo", "edit", str(target), "--host", host, "--port", str(port)]
    command += ["--skip-update-check", *(["--token", "--token-password", token] if token else ["--no-token"])]
    if not browser:
        command.append("--headless")
    try:
        # These notebooks are ours, so that they may run without being asked to.
        environment = os.environ | {"_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE": "true"}
        return subprocess.run(command, check=False, env=environment).returncode
    except KeyboardInterrupt:
        return 0
