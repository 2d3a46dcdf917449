"""Shapes of inputs, in metadata and in requests that run a model."""

from typing import Annotated

from pydantic import Field

Size = Annotated[int, Field(ge=1, le=2**31)]
InputShapes = Annotated[dict[str, Annotated[list[Size], Field(max_length=16)]], Field(max_length=64)]
"""Shapes by input, batch included."""
