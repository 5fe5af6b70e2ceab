"""Whole networks: forward, and forward with the gradients of the input and of all weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homfast.bench import cases, expected
from homfast.bench.cases import NetworkCase
from homfast.bench.compare import Comparison, checked_contenders
from homfast.bench.data import network_data

CASES = cases.NETWORKS
DIRECTIONS = ("forward", "gradients")
PEERS = ("numpy", "torch", "torch.autograd", "torch.compile", "jax", "onnxruntime")
COLUMN = "batch, widths"
parse = cases.parse_network


def comparison(case: NetworkCase, direction: str, dtype: str, peers: Sequence[Any]) -> Comparison:
    """The contenders for `case`, checked on exact data and, forward, on the timed data.

    Parameters
    ----------
    case : NetworkCase
    direction : {"forward", "gradients"}
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
    operation = f"networks_{direction}"
    exact = network_data(case, dtype, exact=True)
    reference = {"forward": expected.network_forward, "gradients": expected.network_gradients}
    wanted = reference[direction](exact)
    _, absent = checked_contenders(
        operation, peers, exact, lambda name, result: expected.check_equal(name, result, wanted)
    )
    data = network_data(case, dtype)

    def within_bound(name: str, result: Any) -> None:
        # The output comes first in either direction.
        expected.check_forward(name, result, data.x, data.weights, last_linear=True)

    present = [peer for peer in peers if peer.name not in absent]
    contenders, _ = checked_contenders(operation, present, data, within_bound)
    return Comparison(case, direction, contenders, absent)
