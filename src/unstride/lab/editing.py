"""``unstride lab --edit``: the chapters' code in marimo's editor.

What is edited is a copy in the reader's own folder: the package stays as it was installed, and changes are kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..app.errors import OptionError
from .chapters import CHAPTERS, NOTEBOOKS, Chapter
from .opening import open_browser
from .server import address


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


def edit(chapter: Chapter | None, folder: str, host: str, port: int, token: str, *, browser: bool) -> int:
    """Open marimo's editor on the copy, of one chapter or of the folder, until it is closed; its exit code."""
    place = Path(folder)
    copied(place)
    target = place / chapter.notebook.name if chapter else place
    command = [sys.executable, "-m", "marimo", "edit", str(target), "--host", host, "--port", str(port)]
    command += ["--skip-update-check", "--headless", "--token", "--token-password-file"]
    # These notebooks are ours, so that they may run without being asked to.
    environment = os.environ | {"_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE": "true"}
    if browser:
        open_browser(address(host, port, token))
    # Not in the command line, which every local user can read. The folder is this user's alone.
    with tempfile.TemporaryDirectory() as private:
        secret = Path(private) / "token"
        secret.write_text(token)
        try:
            return subprocess.run([*command, str(secret)], check=False, env=environment).returncode
        except KeyboardInterrupt:
            return 0
