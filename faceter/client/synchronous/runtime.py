"""What differs between the two clients besides `async` and `await`; not generated."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

sleep = time.sleep


def in_thread(function: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call a function here; there is no loop that it could block."""
    return function(*arguments, **keywords)
