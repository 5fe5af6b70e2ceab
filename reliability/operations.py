"""Calls of every kind of op, small and large, each with the bits of its result."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

import homfast
from homfast import measure
from homfast.selftesting.engines import Engine, computing_on

Call = Callable[[], Any]
DTYPES = ("float32", "float64")


def digest(result: Any) -> str:
    """A name for the bits of arrays, and of what holds them."""
    state = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            state.update(repr((value.shape, value.dtype.str)).encode())
            state.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, (list, tuple)):
            for part in value:
                add(part)
        else:
            state.update(repr(value).encode())

    add(result)
    return state.hexdigest()


def operations(rows: int, width: int, dtype: Any = np.float32) -> dict[str, Call]:
    """Layers, a network, its training, operators and the transform, on fixed numbers.

    Every call may be made again, and from any thread: what it changes is its own.
    """
    rng = np.random.default_rng(20231)
    x, other = (rng.standard_normal((rows, width)).astype(dtype) for _ in range(2))
    weight = (rng.standard_normal((width, width)) / width**0.5).astype(dtype)
    _, mask = homfast.linear_relu(x, weight, return_mask=True)
    widths = [width, 2 * width, width]
    net = homfast.ReLUNetwork.random(widths, seed=2, dtype=dtype)
    power = np.ascontiguousarray(x[:, : 1 << (width.bit_length() - 1)])
    operators = {
        name: getattr(measure, name)(max(1, width // 4), width, seed=3, dtype=dtype, **options)
        for name, options in (
            ("Gaussian", {"store": False}),
            ("Rademacher", {"store": False}),
            ("SparseSign", {"nonzeros_per_column": 1}),
            ("Hadamard", {}),
            ("Cosine", {}),
        )
    }

    def train() -> Any:
        own = homfast.ReLUNetwork.random(widths, seed=2, dtype=dtype)
        half = (rows + 1) // 2
        history = homfast.fit(own, [(x[:half], other[:half]), (x, other)], learning_rate=1e-3)
        return [*own.weights, history.loss]

    def pullback() -> Any:
        out, vjp = net.vjp(x)
        return out, *vjp(other)

    calls: dict[str, Call] = {
        "linear": lambda: homfast.linear(x, weight),
        "linear_relu": lambda: homfast.linear_relu(x, weight, return_mask=True),
        "linear_relu_backward": lambda: homfast.linear_relu_backward(other, x, weight, mask),
        "network": lambda: net(x),
        "vjp": pullback,
        "fit": train,
        "walsh_hadamard": lambda: measure.walsh_hadamard(power),
    }
    for name, operator in operators.items():
        calls[f"{name} forward"] = lambda operator=operator: operator.forward(x)
        calls[f"{name} gram"] = lambda operator=operator: operator.gram(x)
    return calls


def corpus(
    engines: Iterable[Engine], shapes: Iterable[tuple[int, int]], dtypes: tuple[str, ...] = DTYPES
) -> Iterator[tuple[str, Engine, Call]]:
    """Each call on each engine, with a name that is the same in every process."""
    for engine in engines:
        for rows, width in shapes:
            for dtype in dtypes:
                with computing_on(engine):
                    calls = operations(rows, width, dtype)
                for name, call in calls.items():
                    yield f"{name} of {rows} x {width} {dtype} on {engine}", engine, call
