"""Progress of a job, in terminals and notebooks only: a bar of rich or tqdm if one is installed, else a line."""

import sys
from importlib.util import find_spec
from typing import Any, Final, Protocol

from faceter.contracts.job_progress import Progress

_SCALE: Final = 100
_WIDTH: Final = 78


class ProgressDisplay(Protocol):
    """Shows the progress of one job."""

    def show(self, progress: Progress) -> None:
        """Show a state."""

    def close(self, ending: str) -> None:
        """Show how it ended, and leave the line."""


class NoDisplay:
    """Shows nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def close(self, ending: str) -> None:
        """Show nothing."""


class LineDisplay:
    """Rewrites one line on stderr."""

    def __init__(self, title: str) -> None:
        self._title = title

    def show(self, progress: Progress) -> None:
        """Rewrite the line."""
        self._write(f"{self._title}: {progress.fraction:4.0%}  {described(progress)}")

    def close(self, ending: str) -> None:
        """Write the ending and begin a new line."""
        self._write(f"{self._title}: {ending}")
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text[:_WIDTH].ljust(_WIDTH)}")
        sys.stderr.flush()


class BarDisplay:
    """A bar of tqdm, which is a widget in notebooks."""

    def __init__(self, title: str, bar: Any) -> None:
        self._bar = bar(total=_SCALE, desc=title, bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix}")

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        self._bar.n = round(_SCALE * progress.fraction)
        self._bar.set_postfix_str(described(progress))

    def close(self, ending: str) -> None:
        """Write the ending and close the bar."""
        self._bar.set_postfix_str(ending)
        self._bar.close()


class RichDisplay:
    """A bar of rich with the step, the time it took and the time left."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[state]}"),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(title, total=_SCALE, state="")
        self._progress.start()

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=_SCALE * progress.fraction, state=described(progress))

    def close(self, ending: str) -> None:
        """Write the ending and leave the bar as it is."""
        self._progress.update(self._task, state=ending)
        self._progress.stop()


def display(title: str, wanted: bool | None) -> ProgressDisplay:
    """Return a display.

    Args:
        title: What is waited for.
        wanted: Whether to show progress; None if stderr is a terminal, or in a notebook.
    """
    if not (_is_interactive() if wanted is None else wanted):
        return NoDisplay()
    if not _is_notebook() and find_spec("rich") is not None:
        return RichDisplay(title)
    try:
        import tqdm
    except ImportError:
        return LineDisplay(title)
    # Widgets need ipywidgets; without it tqdm.auto warns in every notebook.
    if find_spec("ipywidgets") is not None:
        import tqdm.auto

        return BarDisplay(title, tqdm.auto.tqdm)
    return BarDisplay(title, tqdm.tqdm)


def described(progress: Progress) -> str:
    """Return a progress in a few words: step, losses or agreement, time left."""
    words = [progress.step]
    if progress.training is not None:
        words.append(f"step {progress.training.step:,}")
        if progress.training.agreement is not None:
            words.append(f"agreement {progress.training.agreement:.3f}")
    if progress.eta_seconds is not None:
        words.append(f"{duration(progress.eta_seconds)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a time in the two largest of its units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _is_interactive() -> bool:
    return sys.stderr.isatty() or _is_notebook()


def _is_notebook() -> bool:
    return "ipykernel" in sys.modules
