"""One layer with ReLU: forward, and backward with both gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from homfast.bench import arithmetic, cases, expected, ours
from homfast.bench.cases import LayerCase
from homfast.bench.compare import Comparison, checked_twice
from homfast.bench.data import exact_layer_data, layer_data

CASES = cases.LAYERS
DIRECTIONS = ("forward", "backward")
DTYPES = arithmetic.DTYPES
PRECISIONS = arithmetic.PRECISIONS
PEERS = ("numpy", "torch", "torch.autograd", "torch.compile", "jax", "onnxruntime")
COLUMN = "(batch, in, out)"
parse = cases.parse_layer


def comparison(
    case: LayerCase,
    direction: str,
    dtype: str,
    peers: Sequence[Any],
    precision: str | None = None,
    own: Callable[[str | None], Any] = ours.Homfast,
) -> Comparison:
    """The contenders for `case`, checked on exact data and, forward, on the timed data.

    Parameters
    ----------
    case : LayerCase
    direction : {"forward", "backward"}
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
    reference = {"forward": expected.layer_forward, "backward": expected.layer_backward}
    narrow = arithmetic.is_narrow(dtype, precision)
    return checked_twice(
        f"layers_{direction}",
        case,
        direction,
        peers,
        precision,
        exact=exact_layer_data(case, dtype, narrow=narrow),
        data=layer_data(case, dtype),
        reference=reference[direction],
        check=expected.check_layer if direction == "forward" else None,
        own=own,
    )
