"""The settings of a command, from its options and the environment."""

import sys
from typing import Any

import typer
from pydantic import ValidationError

from faceter.contracts.settings import Settings


def load_settings(**options: Any) -> Settings:
    """Return the settings with those options that were given; leaves with a message if they cannot be used."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problems = (
            f"FACETER_{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}, not {problem['input']!r}"
            for problem in error.errors()
        )
        typer.echo("faceter: The settings cannot be used.\n" + "\n".join(problems), err=True)
        sys.exit(2)
