"""Training steps: forward, mean squared error, backward and Adam, on one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homfast.bench import cases, expected
from homfast.bench.cases import NetworkCase
from homfast.bench.compare import Comparison, checked_contenders
from homfast.bench.data import network_data

CASES = cases.TRAINING
DIRECTIONS = ("step",)
DTYPES = ("float32", "float64")  # fit takes no weights of bfloat16
PRECISIONS = ()
PEERS = ("torch.fused", "torch.foreach", "torch.compile", "jax")
COLUMN = "batch, widths"
parse = cases.parse_network

# Large enough that five steps move the loss by more than the check lets pass; small enough that
# thousands of steps on one batch stay ordinary numbers.
_CHECK_STEPS, _CHECK_RATE, _RATE = 5, 1e-3, 1e-5


def comparison(case: NetworkCase, direction: str, dtype: str, peers: Sequence[Any]) -> Comparison:
    """The contenders for `case`, checked on the losses of the first steps.

    Parameters
    ----------
    case : NetworkCase
    direction : {"step"}
    dtype : {"float32", "float64"}
    peers : sequence

    Returns
    -------
    Comparison

    Raises
    ------
    WrongResult
        The losses of a contender are not those of the reference.
    """
    operation = f"training_{direction}"
    data = network_data(case, dtype)
    wanted = expected.training_losses(data, _CHECK_STEPS, _CHECK_RATE)
    checked, absent = checked_contenders(operation, peers, data, _unchecked, _CHECK_RATE)
    for contender in checked:
        # The first step was taken by checked_contenders.
        losses = [contender.result() for _ in range(_CHECK_STEPS - 1)]
        expected.check_losses(contender.name, losses, wanted[1:])
    present = [peer for peer in peers if peer.name not in absent]
    contenders, _ = checked_contenders(operation, present, data, _unchecked, _RATE)
    return Comparison(case, direction, contenders, absent)


def _unchecked(name: str, loss: float) -> None:
    """One loss says little; `comparison` looks at several."""
