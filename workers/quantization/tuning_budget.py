"""The budget of a tuned method: minutes or steps, and what follows from it."""

from __future__ import annotations

from faceter.contracts.quantizations import QuantizationRequest
from workers.training.budget import Budget

ROUNDING_SECONDS = 10.0
"""About how long rounding takes, for progress only."""

_SECONDS_PER_STEP = 0.2
_MINUTES = {8: 1.0, 7: 1.0, 6: 1.0, 5: 3.0, 4: 6.0, 3: 12.0, 2: 20.0}
"""By the fewer of the bits of weights and activations."""
_MINUTES_FOR_TARGET = 10.0
_SECONDS_WORTH_COMPILING = 120.0
_STEPS_WORTH_COMPILING = 1000


def default_minutes(request: QuantizationRequest) -> float:
    """Return the minutes of tuning where the request gives none: the fewer bits, the more."""
    if request.target is not None:
        return _MINUTES_FOR_TARGET
    return _MINUTES[min(request.weight_bits, request.activation_bits)]


def with_default_budget(request: QuantizationRequest) -> QuantizationRequest:
    """Return a request with its budget filled in."""
    if not request.method.tuned or request.max_steps is not None or request.max_minutes is not None:
        return request
    return request.model_copy(update={"max_minutes": default_minutes(request)})


def budget_of(request: QuantizationRequest) -> Budget:
    """Return the requested or the default budget."""
    if request.max_steps is not None:
        return Budget(steps=request.max_steps)
    return Budget(seconds=60 * (request.max_minutes or default_minutes(request)))


def tuning_seconds(request: QuantizationRequest) -> float:
    """Return about how long tuning takes, for progress only; 0 for a method that is not tuned."""
    if not request.method.tuned:
        return 0.0
    budget = budget_of(request)
    return budget.limit_seconds or _SECONDS_PER_STEP * (budget.limit_steps or 0)


def is_worth_compiling(budget: Budget) -> bool:
    """Whether a run is long enough to be worth the seconds that compiling takes."""
    long_enough = (budget.limit_seconds or 0) >= _SECONDS_WORTH_COMPILING
    return long_enough or (budget.limit_steps or 0) >= _STEPS_WORTH_COMPILING
