"""RNN, GRU and LSTM, in all variants of ONNX."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.node import Node, TorchOperator

Gate = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""``(inputs at one time, states) -> new states``, the first of which is the output."""

_GATES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "relu": lambda x, alpha, beta: torch.relu(x),
    "tanh": lambda x, alpha, beta: torch.tanh(x),
    "sigmoid": lambda x, alpha, beta: torch.sigmoid(x),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "leakyrelu": lambda x, alpha, beta: functional.leaky_relu(x, alpha),
    "thresholdedrelu": lambda x, alpha, beta: torch.where(x > alpha, x, torch.zeros_like(x)),
    "scaledtanh": lambda x, alpha, beta: alpha * torch.tanh(beta * x),
    "hardsigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "elu": lambda x, alpha, beta: functional.elu(x, alpha),
    "softsign": lambda x, alpha, beta: functional.softsign(x),
    "softplus": lambda x, alpha, beta: functional.softplus(x),
}
_DEFAULTS = {"leakyrelu": (0.01, 0.0), "hardsigmoid": (0.2, 0.5), "thresholdedrelu": (1.0, 0.0), "elu": (1.0, 0.0)}
_PARAMETERS = {"affine": 2, "leakyrelu": 1, "thresholdedrelu": 1, "scaledtanh": 2, "hardsigmoid": 2, "elu": 1}


def _gates(node: Node, usual: tuple[str, ...], directions: int) -> list[list[Gate]]:
    """Return the activation functions of each direction, with their parameters and the clip bound."""
    names = [name.lower() for name in node.attributes.get("activations", usual * directions)]
    alphas, betas = list(node.numbers("activation_alpha")), list(node.numbers("activation_beta"))
    bound = node.number("clip") if node.has("clip") else None
    gates: list[Gate] = []
    for name in names:
        alpha, beta = _DEFAULTS.get(name, (1.0, 0.0))
        count = _PARAMETERS.get(name, 0)
        alpha = alphas.pop(0) if count >= 1 and alphas else alpha
        beta = betas.pop(0) if count >= 2 and betas else beta
        gates.append(_bounded(_GATES[name], alpha, beta, bound))
    return [gates[i : i + len(usual)] for i in range(0, len(gates), len(usual))]


def _bounded(
    function: Callable[[Tensor, float, float], Tensor], alpha: float, beta: float, bound: float | None
) -> Gate:
    if bound is None:
        return lambda x: function(x, alpha, beta)
    return lambda x: function(x.clamp(-bound, bound), alpha, beta)


def _run(step: Step, x: Tensor, states: tuple[Tensor, ...], lengths: Tensor | None, *, backward: bool) -> list[Tensor]:
    """Run over the steps [T, N, …] of ``x``; after the end of a sequence its states are kept and its output is zero.

    Returns:
        The outputs [T, N, hidden], then the last states.
    """
    outputs = []
    times = range(x.shape[0])
    for time in reversed(times) if backward else times:
        new = step(x[time], states)
        output = new[0]
        if lengths is not None:
            alive = (time < lengths)[:, None]
            new = tuple(torch.where(alive, fresh, old) for fresh, old in zip(new, states, strict=True))
            output = torch.where(alive, output, torch.zeros_like(output))
        states = new
        outputs.append(output)
    if backward:
        outputs.reverse()
    return [torch.stack(outputs), *states]


def _layer(
    node: Node,
    x: Tensor,
    lengths: Tensor | None,
    initial: tuple[Tensor | None, ...],
    hidden: int,
    make_step: Callable[[int], tuple[Tensor, Tensor | None, Step]],
) -> tuple[Tensor, ...]:
    """Run each direction; ``make_step`` returns its input weights [G · hidden, input], their bias, and its step."""
    batch_first = bool(node.integer("layout"))
    if batch_first:
        x = x.transpose(0, 1)
        initial = tuple(None if state is None else state.transpose(0, 1) for state in initial)
    direction = node.text("direction", "forward")
    results = []
    for i in range(2 if direction == "bidirectional" else 1):
        weight, bias, step = make_step(i)
        states = tuple(x.new_zeros(x.shape[1], hidden) if state is None else state[i] for state in initial)
        backward = i == 1 or direction == "reverse"
        results.append(_run(step, functional.linear(x, weight, bias), states, lengths, backward=backward))
    outputs, *last = (torch.stack(parts) for parts in zip(*results, strict=True))
    if batch_first:
        return (outputs.permute(2, 1, 0, 3), *(state.transpose(0, 1) for state in last))
    return (outputs.transpose(0, 1), *last)


def rnn(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """One gate: the next h is f(W · x + R · h + b)."""
    gates = _gates(node, ("Tanh",), len(weight))
    hidden = recurrence.shape[2]

    def make(i: int) -> tuple[Tensor, Tensor | None, Step]:
        def step(inputs: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (gates[i][0](inputs + states[0] @ recurrence[i].t()),)

        return weight[i], None if bias is None else bias[i, :hidden] + bias[i, hidden:], step

    return _layer(node, x, lengths, (initial_h,), hidden, make)


def gru(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Gated recurrent unit, gates in the order update, reset, hidden (Cho et al. 2014)."""
    gates = _gates(node, ("Sigmoid", "Tanh"), len(weight))
    hidden = recurrence.shape[2]
    reset_last = bool(node.integer("linear_before_reset"))

    def make(i: int) -> tuple[Tensor, Tensor | None, Step]:
        f, g = gates[i]
        gated, candidate = recurrence[i, : 2 * hidden].t(), recurrence[i, 2 * hidden :].t()
        own = x.new_zeros(3 * hidden) if bias is None else bias[i, 3 * hidden :]

        def step(inputs: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (h,) = states
            update, reset = f(inputs[:, : 2 * hidden] + h @ gated + own[: 2 * hidden]).chunk(2, dim=1)
            if reset_last:
                recurrent = reset * (h @ candidate + own[2 * hidden :])
            else:
                recurrent = (reset * h) @ candidate + own[2 * hidden :]
            return ((1 - update) * g(inputs[:, 2 * hidden :] + recurrent) + update * h,)

        return weight[i], None if bias is None else bias[i, : 3 * hidden], step

    return _layer(node, x, lengths, (initial_h,), hidden, make)


def lstm(
    node: Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Long short-term memory, gates in the order input, output, forget, cell (Hochreiter and Schmidhuber 1997)."""
    gates = _gates(node, ("Sigmoid", "Tanh", "Tanh"), len(weight))
    hidden = recurrence.shape[2]
    coupled = bool(node.integer("input_forget"))

    def make(i: int) -> tuple[Tensor, Tensor | None, Step]:
        f, g, h_gate = gates[i]
        peep_i, peep_o, peep_f = (x.new_zeros(3 * hidden) if peepholes is None else peepholes[i]).chunk(3)

        def step(inputs: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, c = states
            in_gate, out_gate, forget, cell = (inputs + h @ recurrence[i].t()).chunk(4, dim=1)
            in_gate = f(in_gate + peep_i * c)
            forget = 1 - in_gate if coupled else f(forget + peep_f * c)
            c = forget * c + in_gate * g(cell)
            return f(out_gate + peep_o * c) * h_gate(c), c

        total = None if bias is None else bias[i, : 4 * hidden] + bias[i, 4 * hidden :]
        return weight[i], total, step

    return _layer(node, x, lengths, (initial_h, initial_c), hidden, make)


OPERATORS = {
    "RNN": TorchOperator(rnn),
    "GRU": TorchOperator(gru),
    "LSTM": TorchOperator(lstm),
}
