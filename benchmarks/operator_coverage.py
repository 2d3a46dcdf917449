"""Write ``docs/reference/operators.md``: each operator of the torch interpreter, and the results of ONNX's test cases.

Run ``python -m benchmarks.operator_coverage`` from the project's root.
"""

import textwrap
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import onnx

from faceter.graphs.lowering import REPLACED
from tests.workers.operators.node_cases import EXCEPTIONS, SEVERAL, Outcome, run_all
from workers.operators import OPERATORS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "operators.md"

_HEAD = """\
# Operators

The {operators} operators of standard ONNX that jobs can run. `workers/onnx_module.py` runs them with
torch; each family is a file in `workers/operators/`. A model with another operator is still served
by ONNX Runtime, but jobs refuse it with `unsupported-operator` and name the operator and the node.

The table has the test cases that `onnx` {version} ships for each operator (`onnx.backend.test`,
written in the newest opset) and how many give the expected values: **{passed} of {cases}** in all.

| compared | tolerance |
|---|---|
| type and shape | equal |
| integers, 8-bit floats | equal |
| floats | 1e-4 relative |
| float16 | 2e-3 relative |
| bfloat16 | 2^-6 relative |
| four cases whose values are written to four decimals | 1e-4 absolute |

Older opsets are compared with ONNX Runtime in `tests/workers/operators/test_opsets.py`; models of
opsets before 11 are converted first.

`If` and `Loop` are not in the table: they are inlined where their condition or count is a constant,
or follows from sizes and from `constant_inputs` and `input_shapes` in the model's metadata.

Operators of other domains that ONNX Runtime has are replaced by standard ones, where that computes
the same:
{replaced}.

This page is written by `python -m benchmarks.operator_coverage`; a test checks that it is current.

| operator | family | cases | passed | failing cases, and why |
|---|---|---:|---:|---|
"""


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the page's text for the outcomes of all cases."""
    by_operator: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_operator[outcome.operator].append(outcome)
    rows = [_row(name, _family(name), by_operator.pop(name, [])) for name in sorted(OPERATORS)]
    rows += [_row(name, "", by_operator[name]) for name in sorted(by_operator)]
    everything = [outcome for row in rows for outcome in row[1]]
    head = _HEAD.format(
        operators=len(OPERATORS),
        version=onnx.__version__,
        replaced=textwrap.fill(", ".join(f"`{name}`" for name in REPLACED), 99, break_long_words=False),
        passed=sum(outcome.fault is None for outcome in everything),
        cases=len(everything),
    )
    return head + "".join(text for text, _ in rows)


def _family(operator: str) -> str:
    return OPERATORS[operator].run.__module__.rsplit(".", 1)[-1]


def _row(name: str, family: str, outcomes: list[Outcome]) -> tuple[str, list[Outcome]]:
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.fault:
            reasons[EXCEPTIONS.get(outcome.case, outcome.fault)].append(f"`{outcome.case.removeprefix('test_')}`")
    why = "; ".join(f"{reason}: {', '.join(cases)}" for reason, cases in reasons.items())
    if not outcomes:
        why = "ONNX ships no case"
    passed = sum(outcome.fault is None for outcome in outcomes)
    label = name if name == SEVERAL else f"`{name}`"
    return f"| {label} | {family} | {len(outcomes)} | {passed} | {why} |\n", outcomes


if __name__ == "__main__":
    PAGE.write_text(table(run_all()))
    print(f"wrote {PAGE.name}")
