"""Injectivity of ReLU layers that convolve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import check_memory, finite, whole
from homfast.injectivity.decision import Injectivity, is_injective

_MOST_ROWS = 4096


def injective_filters(size: Sequence[int], *, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """Filters ``[C; -s^2 C]`` of least number whose stride-1 convolution with a ReLU is injective.

    Parameters
    ----------
    size : sequence of int
        The filters' shape, channels included if there are several.
    seed : int
    dtype : float32 or float64

    Returns
    -------
    array, shape ``(2 prod(size), *size)``
        An orthonormal basis of the filters and negative multiples of it.

    Raises
    ------
    MemoryError
        A size whose filters would not fit 8 GiB while they are made.

    Notes
    -----
    Section 3.4 of Puthawala et al., arXiv 2006.08464.
    """
    shape = _checked_shape(size, "size")
    count = math.prod(shape)
    check_memory(6.0 * count * count, "size", f"{2 * count} filters of {count} entries")
    dtype = _arrays.check_float_dtype(dtype)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    basis = np.linalg.qr(generator.standard_normal((count, count)))[0].astype(dtype)
    scale = dtype.type(2) ** generator.integers(-1, 2, count).astype(dtype)
    return np.vstack([basis, -scale[:, None] * basis]).reshape(2 * count, *shape)


def is_injective_convolution(
    filters: Any, box: Sequence[int], *, tolerance: float = 1e-9, node_limit: int = 200_000
) -> Injectivity:
    """Whether a stride-1 convolution with a ReLU is proved injective by filters placed in a box.

    Parameters
    ----------
    filters : array, shape ``(count, *size)``
        Several channels are an axis of their own, which `box` covers as a whole.
    box : sequence of int
        At least the filters' size along each axis.
    tolerance, node_limit
        As in `is_injective`.

    Returns
    -------
    Injectivity
        Decision True: injective for every image at least as large as the box and every boundary
        rule. Decision None: this box does not prove it, the layer may be injective or not; a larger
        box may. Never False. The witness, if any, is a pair of patches that the placements in the
        box do not tell apart.

    Raises
    ------
    ValueError, MemoryError
        A box whose test would not end, or not fit 8 GiB, besides what `is_injective` raises.

    Notes
    -----
    Theorem 13 of Puthawala et al., arXiv 2006.08464. ``count prod(box - size + 1) >= 2 prod(box)``
    is necessary (the printed count lacks the + 1; derived here).
    """
    array = _arrays.host_array(filters, "filters")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"filters: got shape {array.shape}, wanted (count, *size), none of them 0")
    values = finite(array, "filters")
    shape = _checked_shape(box, "box")
    size = values.shape[1:]
    if len(shape) != len(size) or any(b < s for b, s in zip(shape, size, strict=True)):
        raise ValueError(f"box: got {shape}, wanted at least the size {size} of the filters")
    offsets = [range(b - s + 1) for b, s in zip(shape, size, strict=True)]
    count, entries = len(values) * math.prod(map(len, offsets)), math.prod(shape)
    if count > _MOST_ROWS:
        raise ValueError(
            f"box: {shape} has {count} placements of {len(values)} filters, more than "
            f"{_MOST_ROWS}, whose test would not end; choose a smaller box"
        )
    what = f"{count} placements in a box of {entries} entries"
    check_memory(6.0 * count * entries, "box", what, "choose a smaller box")
    rows: list[np.ndarray] = []
    for offset in itertools.product(*offsets):
        placed = np.zeros((len(values), *shape))
        window = tuple(slice(o, o + s) for o, s in zip(offset, size, strict=True))
        placed[(slice(None), *window)] = values
        rows.append(placed.reshape(len(values), -1))
    found = is_injective(np.vstack(rows), tolerance=tolerance, node_limit=node_limit)
    return found if found.decision else found._replace(decision=None)


def _checked_shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name}: got {shape!r}, wanted a tuple of integers")
    if not shape:
        raise ValueError(f"{name}: got no axes, wanted one integer an axis, such as (3, 3)")
    return tuple(whole(s, f"{name}[{i}]", 1) for i, s in enumerate(shape))
