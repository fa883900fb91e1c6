"""Other people's command-line programs: found beside this python, or on the PATH."""

import shutil
import sys
from pathlib import Path


def find_program(name: str, *, install: str) -> str:
    """The program's path. Raises ValueError, saying how to install it, where there is none."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise ValueError(f"{name} is not installed: {install}")
    return found
