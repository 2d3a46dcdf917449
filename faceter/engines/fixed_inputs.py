"""A loaded model some of whose inputs always have the same value."""

from collections.abc import Mapping, Sequence

import numpy as np

from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array, Interrupt, LoadedModel, WrappedModel


class FixedInputsModel(WrappedModel):
    """A loaded model that takes only its other inputs; see `faceter.engines.base.LoadedModel`.

    Args:
        loaded: The model.
        constants: Values by input, see `ModelMetadata.constant_inputs`; those of inputs it does not have are ignored.
    """

    def __init__(self, loaded: LoadedModel, constants: Mapping[str, float]) -> None:
        super().__init__(loaded)
        self._fixed = {
            spec.name: _filled(spec, constants[spec.name]) for spec in loaded.inputs if spec.name in constants
        }
        self.inputs = [spec for spec in loaded.inputs if spec.name not in self._fixed]

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once; see `faceter.engines.base.LoadedModel.run`."""
        return self.loaded.run({**inputs, **self._fixed}, outputs, interrupt=interrupt)


def with_fixed_inputs(loaded: LoadedModel, constants: Mapping[str, float] | None) -> LoadedModel:
    """Return a loaded model with the given values for some of its inputs; itself if there are none."""
    return FixedInputsModel(loaded, constants) if constants else loaded


def _filled(spec: TensorSpec, value: float) -> Array:
    return np.full([size if isinstance(size, int) else 1 for size in spec.shape], value, spec.dtype)
