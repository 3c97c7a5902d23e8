"""What a folder holds, to compare before and after; and copies of the project."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.configs import ROOT


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file with its bytes, every link with its target, every empty folder."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = "empty"
    return found


def copy_project(to: Path) -> Path:
    """A copy of the project's own files: tools that build leave things beside the sources."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target, follow_symlinks=False)
    return to
