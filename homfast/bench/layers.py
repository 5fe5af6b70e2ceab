"""One layer with ReLU: forward, and backward with both gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homfast.bench import cases, expected
from homfast.bench.cases import LayerCase
from homfast.bench.compare import Comparison, checked_contenders
from homfast.bench.data import layer_data

CASES = cases.LAYERS
DIRECTIONS = ("forward", "backward")
PEERS = ("numpy", "torch", "torch.autograd", "jax", "onnxruntime")
COLUMN = "(batch, in, out)"
parse = cases.parse_layer


def comparison(case: LayerCase, direction: str, dtype: str, peers: Sequence[Any]) -> Comparison:
    """The contenders for `case`, checked on exact data and, forward, on the timed data.

    Parameters
    ----------
    case : LayerCase
    direction : {"forward", "backward"}
    dtype : {"float32", "float64"}
    peers : sequence

    Returns
    -------
    Comparison

    Raises
    ------
    WrongResult
        A contender does not return what the reference does.
    """
    operation = f"layers_{direction}"
    exact = layer_data(case, dtype, exact=True)
    reference = {"forward": expected.layer_forward, "backward": expected.layer_backward}[direction]
    wanted = reference(exact)
    _, absent = checked_contenders(
        operation, peers, exact, lambda name, result: expected.check_equal(name, result, wanted)
    )
    data = layer_data(case, dtype)

    def within_bound(name: str, result: Any) -> None:
        if direction == "forward":
            expected.check_forward(name, result, data.x, [data.weight], last_linear=False)

    present = [peer for peer in peers if peer.name not in absent]
    contenders, _ = checked_contenders(operation, present, data, within_bound)
    return Comparison(case, direction, contenders, absent)
