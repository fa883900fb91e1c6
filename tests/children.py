"""Work that may end its process, done in a child of this one."""

import os
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> int:
    """Do it in a process of its own; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)
