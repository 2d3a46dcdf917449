"""Confines the present process, as far as the kernel allows: no network, no changes to files.

For processes that read what strangers uploaded. Both are Linux only, need no privileges where unprivileged user
namespaces are allowed, and hold for the rest of the process's life and its children.
"""

import contextlib
import ctypes
import os
import struct
from pathlib import Path
from typing import Final

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_NO_NEW_PRIVS: Final = 38
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_RULE_PATH_BENEATH: Final = 1
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_WRITES: Final = 0x1FF2
"""Rights of Landlock's first version to write, make and remove; those to execute and to read are left."""
_WRITE_FILE: Final = 0x2
"""The right to open a file for writing."""


def confine() -> list[str]:
    """Confine this process, which must have one thread.

    Returns:
        What the kernel allowed: ``network`` if no network is left, ``files`` if no file can be changed any more.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done = []
    if _without_network(libc):
        done.append("network")
    if _without_writes(libc):
        done.append("files")
    return done


def _without_network(libc: ctypes.CDLL) -> bool:
    """Move to a network of its own, without interfaces."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # The same user inside, or files that only this user may read could not be imported any more.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    return True


def _without_writes(libc: ctypes.CDLL) -> bool:
    """Forbid to write, make and remove files by path, but for /dev/null; files that are open stay so."""
    if libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION) < 1:
        return False
    handled = ctypes.create_string_buffer(struct.pack("Q", _WRITES))
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, handled, 8, 0)
    if rules < 0:
        return False
    try:
        _allow_writes(libc, rules, os.devnull)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow_writes(libc: ctypes.CDLL, rules: int, path: str) -> None:
    """Allow to write to one file."""
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", _WRITE_FILE, file))
        libc.syscall(_LANDLOCK_ADD_RULE, rules, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(file)
