"""Processes that do not outlive their parent.

``command`` wraps a command line so that the kernel ends it when its parent dies, even by SIGKILL. The wrapping is
this very file, run as a script: it ties itself to its parent and then becomes the command, so there is no code between
fork and exec and it may be used from any thread's process. Linux only; elsewhere the command is run as it is.
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
        number: The signal to get.
        parent: Process id the parent must have; if another one has taken its place, the parent is dead already
            and the signal is sent at once.

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


def command(arguments: Sequence[str], number: signal.Signals) -> list[str]:
    """Return the command line that runs ``arguments`` tied to the process that starts it.

    The kernel watches the thread that starts a child, so start it from one that lives as long as the child should.

    Args:
        arguments: Program (a path) and its arguments.
        number: The signal the program gets when its parent dies.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), *arguments]


def main(arguments: Sequence[str]) -> None:
    """Tie this process to its parent, then become the command: ``PARENT SIGNAL PROGRAM [ARGUMENT…]``."""
    parent, number, *program = arguments
    die_with_parent(signal.Signals(int(number)), int(parent))
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
