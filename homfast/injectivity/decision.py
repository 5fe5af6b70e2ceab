"""Whether a ReLU layer is injective on all of R^n."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite, finite_matrix, real, whole
from homfast.injectivity.flats import FlatSearch
from homfast.injectivity.rows import always_active, distinct
from homfast.injectivity.separation import ROUNDING
from homfast.injectivity.witness import falsify, is_collision, verified_pair

_FARTHEST = 2.0**400  # bias, beside rows of size about one
_WORK = 2e10  # of nodes m n^3, some seconds where n is large: beyond it sizes do not end


class Injectivity(NamedTuple):
    """The answer of `is_injective`; ``bool()`` of it is the decision.

    Attributes
    ----------
    decision : bool or None
        None: undecided within the node limit.
    witness : (x0, x1) or None
        For False: two points, float64, shape (n,), with ``relu(W x0 + b) = relu(W x1 + b)``,
        verified by evaluation, to its rounding in each component.
    margin : float
        How near a coincidence the search came, not a radius within which every weight has the same
        answer: rows moved by half of it change some. With rows and columns scaled as `is_injective`
        does and rows then of norm one, it is the least, over what was met, of the Euclidean
        distance of a row to the span of others that does not hold it, and the depth of the witness:
        the largest t with ``<row, x> <= -t`` for the rows that are to be inactive and a unit x;
        with biases for unit rows of ``(W, b / r)`` and a unit ``(x, r)``, r the unit of length that
        found it. For n = 1 the gap between the kinks, over the larger one. inf where nothing was
        looked at. A yes that takes rows as antiparallel (with their biases) or a thin cell as none
        has the largest distance that it took as zero, at most the tolerance: 0 where pairs are
        exact. That distance is by how much rows would turn and biases change, each relative to
        itself; the answer is that of some weight that close, not of all.
    nodes : int
        Flats visited.
    """

    decision: bool | None
    witness: tuple[np.ndarray, np.ndarray] | None
    margin: float
    nodes: int

    def __bool__(self) -> bool:
        if self.decision is None:
            raise ValueError(
                f"undecided after {self.nodes} nodes: neither injective nor not is proved; pass a "
                "larger node_limit, or look at .decision"
            )
        return self.decision


def is_injective(
    weight: Any,
    bias: Any = None,
    *,
    tolerance: float = 1e-9,
    node_limit: int = 200_000,
    seed: int = 0,
) -> Injectivity:
    """Whether ``x -> relu(W x + b)`` is injective on R^n, with proof either way or "undecided".

    Parameters
    ----------
    weight : array, shape (m, n), float32 or float64
    bias : array, shape (m,), optional
    tolerance : float
        An angle: a yes takes rows (with their biases) that are antiparallel within it as exactly
        so, and ignores cells that vanish when the rows around them turn by it and their biases
        change by it, each relative to itself; `margin` then is at most the tolerance. A no does
        neither: its witness is verified. Below 0.1; below 1e-12, which rounding can tell, it is
        raised to that. Columns are first scaled by powers of two to entries of one size.
    node_limit : int
        Flats to visit at most; also bounded so that large n end: undecided.
    seed : int
        Of the quick search for a witness that comes first.

    Returns
    -------
    Injectivity
        ``(decision, witness, margin, nodes)``; undecided too where rounding hides the answer.

    Raises
    ------
    TypeError, ValueError
        Unsupported dtypes, shapes that do not match, values that are not finite.
    ImportError
        Without SciPy, in the extra ``theory``.

    Notes
    -----
    Theorem 2 of Puthawala, Kothari, Lassas, Dokmanic, de Hoop, JMLR 23(105), 2022 (arXiv
    2006.08464): injective if and only if for every x the rows with ``<w_j, x> >= 0`` span R^n. With
    a bias the rows with ``<w_j, x> + b_j >= 0`` take their place (derived here). Their Lemma 3,
    which looks at the rows with b_j >= 0 alone, holds in one direction only: ``[I; -I]`` with bias
    ``(c, -c)``, c > 0, is injective. The search is derived here; see `homfast.injectivity.flats`.
    Deciding is coNP-complete in general (Froese, Grillo, Skutella 2025).

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.injectivity import is_injective
    >>> bool(is_injective(np.array([[1.0], [-2.0]])))
    True
    >>> is_injective(np.eye(2)).decision
    False
    """
    matrix, shift, tolerance = checked_layer(weight, bias, tolerance)
    limit = whole(node_limit, "node_limit", 0)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    n = matrix.shape[1]
    kept = matrix.any(axis=1)
    if not kept.any():
        return Injectivity(False, (np.zeros(n), np.eye(n)[0]), 0.0, 0)
    matrix, shift, _, exponents = balanced_layer(matrix, shift)
    found = _on_a_line(matrix[:, 0], shift) if n == 1 else None
    if found is None:
        limit = min(limit, int(_WORK / (len(matrix) * n**3)))
        found = _decide(matrix, shift, max(tolerance, ROUNDING), limit, generator)
    if found.witness is None:
        return found
    with np.errstate(over="ignore"):
        x0, x1 = (np.ldexp(x, exponents) for x in found.witness)
    if not np.isfinite([x0, x1]).all():  # columns of 1e-305: the points are there, not as numbers
        return found._replace(decision=None, witness=None)
    return found._replace(witness=(x0, x1))


def balanced_layer(
    matrix: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W and b with rows and columns of entries up to one, without the rows of zeros.

    Also the exponents that the rows got, and those that x is to get. A positive factor a row
    changes nothing, one a column is a change of units of x; powers of two do not round. Tiny rows
    would have squares of zero, tiny columns would pass for dependent ones.
    """
    kept = np.flatnonzero(matrix.any(axis=1))  # rows of zeros tell nothing of x
    matrix, shift = matrix[kept], shift[kept]
    powers = -np.frexp(np.abs(matrix).max(axis=1, initial=0.0))[1]
    matrix = np.ldexp(matrix, powers[:, None])
    exponents = -np.frexp(np.abs(matrix).max(axis=0, initial=0.0))[1]
    matrix = np.ldexp(matrix, exponents)
    again = -np.frexp(np.abs(matrix).max(axis=1, initial=0.0))[1]
    with np.errstate(over="ignore"):
        shift = np.ldexp(shift, powers + again)
    if np.abs(shift).max(initial=0.0) > _FARTHEST:
        j = int(kept[np.abs(shift).argmax()])
        raise ValueError(
            f"bias: entry {j} is beyond {_FARTHEST:.3g} times its row of weight, where squares "
            "overflow; wanted a smaller one, or the row multiplied by a power of two"
        )
    return np.ldexp(matrix, again[:, None]), shift, powers + again, exponents


def _on_a_line(weight: np.ndarray, shift: np.ndarray) -> Injectivity:
    """For n = 1: whether the rows that rise begin where those that fall end, or before."""
    kinks = -shift / weight
    scale = float(np.abs(kinks).max())
    first = float(kinks[weight > 0].min(initial=np.inf))
    last = float(kinks[weight < 0].max(initial=-np.inf))
    one_way = np.isinf(first) or np.isinf(last)
    if np.isinf(last):  # nothing falls: all x below the first kink go to zero
        last = first - max(scale, 1.0)
    elif np.isinf(first):
        first = last + max(scale, 1.0)
    gap = first - last
    size = max(abs(first), abs(last))
    margin = np.inf if one_way or size == 0.0 else abs(gap) / size
    if gap <= 4 * np.finfo(np.float64).eps * size:
        return Injectivity(True, None, margin, 0)
    pair = np.array([last + gap / 4]), np.array([last + 3 * gap / 4])
    if is_collision(weight[:, None], shift, pair):
        return Injectivity(False, pair, margin, 0)
    return Injectivity(None, None, margin, 0)


def _decide(
    matrix: np.ndarray,
    shift: np.ndarray,
    tolerance: float,
    limit: int,
    generator: np.random.Generator,
) -> Injectivity:
    """By pairs that span, by a quick search for a witness, or by the search over flats.

    Of rows that are positive multiples of one another, with their biases, the first stands for all;
    witnesses are verified on all.
    """
    decided = _decide_distinct(*_distinct(matrix, shift), tolerance, limit, generator)
    if decided.witness is None or is_collision(matrix, shift, decided.witness):
        return decided
    return decided._replace(decision=None, witness=None)


def _distinct(matrix: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    norms = np.linalg.norm(matrix, axis=1)
    kept = distinct(matrix / norms[:, None], shift / norms)
    return matrix[kept], shift[kept]


def _decide_distinct(
    matrix: np.ndarray,
    shift: np.ndarray,
    tolerance: float,
    limit: int,
    generator: np.random.Generator,
) -> Injectivity:
    norms = np.linalg.norm(matrix, axis=1)
    units, shifts = matrix / norms[:, None], shift / norms
    search = FlatSearch(units, shifts, tolerance, always_active(units, shifts, tolerance))
    if search.spans_at_once:
        return Injectivity(True, None, search.margin_of_yes, 0)
    witness = falsify(matrix, shift, generator)
    if witness is not None:
        return Injectivity(False, witness, search.margin, 0)
    found = search.run(limit)
    if found.point is not None:
        witness = verified_pair(matrix, shift, found.point)
        return Injectivity(None if witness is None else False, witness, found.margin, found.nodes)
    return Injectivity(True if found.complete else None, None, found.margin, found.nodes)


def checked_layer(
    weight: Any, bias: Any, tolerance: Any = 1e-9
) -> tuple[np.ndarray, np.ndarray, float]:
    """Weight and bias as float64, a missing bias as zeros, and the tolerance."""
    matrix, dtype = finite_matrix(weight, "weight")
    if bias is None:
        shift = np.zeros(len(matrix))
    else:
        array = _arrays.host_array(bias, "bias")
        if array.dtype != dtype:
            raise TypeError(f"bias: got {array.dtype} beside weight of {dtype}, wanted one dtype")
        if array.shape != (len(matrix),):
            raise ValueError(
                f"bias: got shape {array.shape}, wanted ({len(matrix)},) to match weight of shape "
                f"{matrix.shape}"
            )
        shift = finite(array, "bias")
    return matrix, shift, real(tolerance, "tolerance", 0.0, 0.1)
