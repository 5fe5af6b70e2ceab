"""Whole networks: forward, and forward with the gradients of the input and of all weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from homfast.bench import arithmetic, cases, expected, ours
from homfast.bench.cases import NetworkCase
from homfast.bench.compare import Comparison, checked_twice
from homfast.bench.data import exact_network_data, network_data

CASES = cases.NETWORKS
DIRECTIONS = ("forward", "gradients")
DTYPES = arithmetic.DTYPES
PRECISIONS = arithmetic.PRECISIONS
PEERS = ("numpy", "torch", "torch.autograd", "torch.compile", "jax", "onnxruntime")
COLUMN = "batch, widths"
parse = cases.parse_network


def comparison(
    case: NetworkCase,
    direction: str,
    dtype: str,
    peers: Sequence[Any],
    precision: str | None = None,
    own: Callable[[str | None], Any] = ours.Homfast,
) -> Comparison:
    """The contenders for `case`, checked on exact data and, forward, on the timed data.

    Parameters
    ----------
    case : NetworkCase
    direction : {"forward", "gradients"}
    dtype : {"float32", "float64", "bfloat16"}
    peers : sequence
    precision : {"highest", "high", "medium"}, optional
        Of our float32 products, and of their bound; the peers compute theirs as "highest".
    own : callable
        ``own(precision)`` makes our contenders.

    Returns
    -------
    Comparison

    Raises
    ------
    WrongResult
        A contender does not return what the reference does.
    """
    reference = {"forward": expected.network_forward, "gradients": expected.network_gradients}
    narrow = arithmetic.is_narrow(dtype, precision)
    return checked_twice(
        f"networks_{direction}",
        case,
        direction,
        peers,
        precision,
        exact=exact_network_data(case, dtype, narrow=narrow),
        data=network_data(case, dtype),
        reference=reference[direction],
        check=expected.check_network,
        own=own,
    )
