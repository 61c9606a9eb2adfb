"""``unstride lab --edit``: the chapters' code in marimo's editor.

It opens a copy in the reader's folder, so that the installed package does not change and edits are kept.
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
    """Copy the notebooks and their style sheet to `folder`, except files that exist. Returns the new files."""
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
    """Open marimo's editor on one chapter or on the folder. Returns its exit code when it is closed."""
    place = Path(folder)
    copied(place)
    target = place / chapter.notebook.name if chapter else place
    command = [sys.executable, "-m", "marimo", "edit", str(target), "--host", host, "--port", str(port)]
    command += ["--skip-update-check", "--headless", "--token", "--token-password-file"]
    # The notebooks are ours, so they may run at once.
    environment = os.environ | {"_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE": "true"}
    if browser:
        open_browser(address(host, port, token))
    # The token is not in the command line, which every local user can read, but in a private folder.
    with tempfile.TemporaryDirectory() as private:
        secret = Path(private) / "token"
        secret.write_text(token)
        try:
            return subprocess.run([*command, str(secret)], check=False, env=environment).returncode
        except KeyboardInterrupt:
            return 0
