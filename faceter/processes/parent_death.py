"""Child processes that are killed when their parent dies (Linux, PR_SET_PDEATHSIG).

``wrapped_command`` runs this file as a script: it requests the signal and then execs the command, so no Python code
runs between fork and exec, which is safe with threads. On other systems the command runs without this guarantee.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Ask the kernel to send ``number`` to this process as soon as its parent dies.

    Args:
        number: The signal.
        parent: Expected parent process id; if it differs, the parent is already dead and the signal is sent at once.

    Raises:
        OSError: If the kernel refuses.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def wrapped_command(arguments: Sequence[str], number: signal.Signals) -> list[str]:
    """Return a command line that runs ``arguments`` and ends with the process that starts it.

    The kernel watches the thread that starts the child, so that thread must live as long as the child should.

    Args:
        arguments: Path of the program and its arguments.
        number: The signal that the program receives when its parent dies.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), *arguments]


def main(arguments: Sequence[str]) -> None:
    """Request the death signal, then exec the command: ``PARENT SIGNAL PROGRAM [ARGUMENT…]``."""
    parent, number, *program = arguments
    die_with_parent(signal.Signals(int(number)), int(parent))
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
