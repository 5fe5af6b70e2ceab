"""What batch invariance costs: layer calls on fewer than 16 rows, with and without it.

Without, plain weights are read where they lie, in another order of summation; with
``set_batch_invariant(True)`` they are packed in every call. A network packs them once, and always
keeps a row's bits. Nobody else takes part: there is no peer that promises as much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import homfast
from homfast.bench import arithmetic, cases, data, expected, ours, table
from homfast.bench.cases import LayerCase
from homfast.bench.compare import Comparison, Row, geometric_means
from homfast.bench.interleaved import Contender
from homfast.config import config

CASES = cases.INVARIANCE
DIRECTIONS = ("forward",)
DTYPES = ("float32", "float64")
PRECISIONS: tuple[str, ...] = arithmetic.PRECISIONS
PEERS: tuple[str, ...] = ()
COLUMN = "(batch, in, out)"
INVARIANT, NETWORK = "invariant", "network"
parse = cases.parse_layer


def comparison(
    case: LayerCase, direction: str, dtype: str, peers: Sequence[Any], precision: str | None = None
) -> Comparison:
    """``linear`` as it is, ``linear`` made invariant, and a network of the one layer.

    Parameters
    ----------
    case : LayerCase
    direction : {"forward"}
    dtype : {"float32", "float64"}
    peers : sequence
        Empty: it has none.
    precision : {"highest", "high", "medium"}, optional

    Returns
    -------
    Comparison
        The ratio is that of the invariant call's time to the other's.

    Raises
    ------
    WrongResult
        A result is not that of the reference, or the network's bits differ from those of the
        invariant call.
    """
    narrow = arithmetic.is_narrow(dtype, precision)
    exact = data.exact_layer_data(case, dtype, narrow=narrow)
    for contender in _contenders(exact, precision):
        expected.check_equal(contender.name, contender.result(), [exact.x @ exact.weight.T])
    timed = data.layer_data(case, dtype)
    contenders = _contenders(timed, precision)
    results = {contender.name: contender.result() for contender in contenders}
    for name, result in results.items():
        expected.check_forward(
            name,
            result,
            timed.x,
            [timed.weight],
            last_linear=True,
            precision=precision or arithmetic.default_precision(dtype),
        )
    expected.check_equal(NETWORK, results[NETWORK], [results[INVARIANT]])
    return Comparison(case, direction, contenders, beside=(NETWORK,))


def cost(row: Row) -> float:
    """What the invariant call takes longer, as a share of the other's time."""
    return row.seconds[INVARIANT] / row.seconds[ours.name] - 1


def columns(first: str, *, matrix_unit: bool = False) -> list[table.Column]:
    """The columns of the printed table."""
    return [
        table.Column(first, -31, lambda row: row.label),
        table.Column("layer us", 11, lambda row: table.microseconds(row, ours.name)),
        table.Column("invariant us", 13, lambda row: table.microseconds(row, INVARIANT)),
        table.Column("cost", 7, lambda row: f"{cost(row):+.0%}"),
        table.Column("network us", 11, lambda row: table.microseconds(row, NETWORK)),
    ]


def summary(rows: Sequence[Row]) -> Iterable[str]:
    """The geometric mean and the greatest cost."""
    for mean in geometric_means(rows).values():
        greatest = max(rows, key=cost)
        yield (
            f"cost: geometric mean {mean - 1:+.0%} over {len(rows)} shapes, greatest "
            f"{cost(greatest):+.0%} at {greatest.label}"
        )


def _contenders(operands: data.LayerData, precision: str | None) -> list[Contender]:
    x, weight = operands.x, operands.weight
    net = homfast.ReLUNetwork([weight], precision=precision)

    def layer() -> Any:
        return homfast.linear(x, weight, precision=precision)

    return [
        Contender(ours.name, layer, context=lambda: _batch_invariant(False)),
        Contender(INVARIANT, layer, context=lambda: _batch_invariant(True)),
        Contender(NETWORK, lambda: net(x)),
    ]


@contextlib.contextmanager
def _batch_invariant(enabled: bool) -> Iterator[None]:
    before = config()["native"]["batch_invariant"]
    homfast.set_batch_invariant(enabled)
    try:
        yield
    finally:
        homfast.set_batch_invariant(before)
