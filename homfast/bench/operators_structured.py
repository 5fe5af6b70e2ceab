"""Sparse signs, rank-one measurements, and the compressed sensing of deepinv."""

from __future__ import annotations

import functools
import importlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from homfast import measure
from homfast._backends import automatic
from homfast.bench import ours
from homfast.bench.expected import WrongResult
from homfast.bench.operators_cases import (
    Call,
    Check,
    Comparison,
    Libraries,
    Task,
    check_near,
    gamma,
    scaled,
)

SEED = 7
SPARSE = (16384, 65536, 8, 64)  # m, n, nonzeros a column, batch
RANK_ONE = (8192, 512, 4, 4)  # m, d1 = d2, rank, batch
IMAGE, IMAGE_BATCH = 64, 64  # deepinv: 64 x 64, m = n / 4


def tasks(scale: int) -> Iterator[Task]:
    """The lines, with sizes divided by `scale`."""
    m, n = scaled(SPARSE[0], scale, SPARSE[2]), scaled(SPARSE[1], scale, 2)
    for product in ("forward", "adjoint"):
        make = functools.partial(_sparse_sign, m, n, product)
        size = f"{m} x {n}, {SPARSE[2]} a column, batch {SPARSE[3]}"
        yield Task("SparseSign", size, product, make)
    m, d = scaled(RANK_ONE[0], scale, 2), scaled(RANK_ONE[1], scale, 4)
    size = f"m {m}, {d} x {d}, rank {RANK_ONE[2]}, batch {RANK_ONE[3]}"
    yield Task("RankOne on factors", size, "forward", functools.partial(_rank_one, m, d, False))
    make = functools.partial(_rank_one, m, d, True)
    yield Task("RankOne on factors, not on X", size, "forward", make)
    side = scaled(IMAGE, scale, 4)
    m, n = side * side // 4, side * side
    for product in ("construction", "forward", "adjoint"):
        make = functools.partial(_compressed_sensing, side, product)
        batch = 1 if product == "construction" else IMAGE_BATCH
        yield Task("Gaussian, as CompressedSensing", f"{m} x {n}, batch {batch}", product, make)


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


# Sparse signs -------------------------------------------------------------------------------------


def _sparse_sign(m: int, n: int, product: str, libraries: Libraries) -> Comparison:
    _, _, nonzeros, batch = SPARSE
    adjoint = product == "adjoint"
    op = measure.SparseSign(m, n, nonzeros_per_column=nonzeros, seed=SEED)
    where, signs = automatic().sparse_sign_columns(SEED, m, nonzeros, range(n))
    where, values = where.astype(np.int64), signs.astype(np.float32) / np.float32(nonzeros**0.5)
    x = _normal(batch, m if adjoint else n)
    columns = np.ascontiguousarray(x.T)  # what sparse libraries multiply fastest
    own = getattr(op, product)

    def scipy_matrix(scipy: Any) -> Any:
        entries = values.ravel(), (where.ravel(), np.repeat(np.arange(n), nonzeros))
        matrix = scipy.sparse.csr_array(entries, shape=(m, n))
        return matrix.T.tocsr() if adjoint else matrix

    def scipy_peer(scipy: Any) -> Call:
        matrix = scipy_matrix(scipy)
        return lambda: (matrix @ columns).T

    def torch_peer(torch: Any) -> Call:
        count = torch.from_numpy(np.repeat(np.arange(n), nonzeros))
        place = torch.from_numpy(where.ravel())
        pair = torch.stack([count, place] if adjoint else [place, count])
        shape = (n, m) if adjoint else (m, n)
        entries = torch.from_numpy(values.ravel())
        coordinates = torch.sparse_coo_tensor(pair, entries, shape, check_invariants=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its CSR is in beta, it says
            matrix = coordinates.to_sparse_csr()
        right = torch.from_numpy(columns)
        return lambda: torch.mm(matrix, right).T

    check = _sparse_check(x, where, values, m, adjoint)
    return libraries.compared(lambda: own(x), {"scipy": scipy_peer, "torch": torch_peer}, check)


def _sparse_check(
    x: np.ndarray, where: np.ndarray, values: np.ndarray, m: int, adjoint: bool
) -> Check:
    """The first and the last row against sums in float64."""
    rows, wide = [0, -1], values.astype(np.float64)

    def product(row: np.ndarray, entries: np.ndarray) -> np.ndarray:
        if adjoint:
            return (entries * row[where]).sum(axis=1)
        return np.bincount(where.ravel(), (entries * row[:, None]).ravel(), minlength=m)

    chosen = x[rows].astype(np.float64)
    wanted = np.stack([product(row, wide) for row in chosen])
    terms = where.shape[1] if adjoint else int(np.bincount(where.ravel()).max())
    size = np.stack([product(np.abs(row), np.abs(wide)) for row in chosen])

    def check(name: str, result: Any) -> None:
        if tuple(result.shape) != (len(x), wanted.shape[1]):
            raise WrongResult(f"{name}: got shape {tuple(result.shape)}")
        check_near(name, np.asarray(result)[rows], wanted, gamma(terms + 4) * size)

    return check


# Rank-one measurements ----------------------------------------------------------------------------


def _rank_one(m: int, d: int, against_product: bool, libraries: Libraries) -> Comparison:
    _, _, rank, batch = RANK_ONE
    op = measure.RankOne(m, (d, d), seed=SEED)
    left, right = op.factors
    u, v = _normal(batch, d, rank), _normal(batch, d, rank)[::-1].copy()
    scale = 1 / math.sqrt(m)
    wide = [array.astype(np.float64) for array in (left, right, u, v)]

    def measured(a: Any, b: Any, u: Any, v: Any) -> np.ndarray:
        return ((a @ u) * (b @ v)).sum(axis=-1) * scale

    wanted = measured(*wide)
    error = gamma(2 * d + rank + 8) * measured(*map(np.abs, wide))

    def check(name: str, result: Any) -> None:
        check_near(name, result, wanted, error)

    def of_product(_: Any) -> Call:
        x = (u @ np.swapaxes(v, 1, 2)).reshape(batch, d * d)
        return lambda: op.forward(x)

    def numpy_peer(_: Any) -> Call:
        def call() -> np.ndarray:
            y = left @ u
            y *= right @ v
            y = y.sum(axis=-1)
            return np.multiply(y, scale, out=y)

        return call

    def torch_peer(torch: Any) -> Call:
        a, b, first, second = map(torch.from_numpy, (left, right, u, v))
        return lambda: ((a @ first) * (b @ second)).sum(dim=-1).mul_(scale)

    peers = (
        {"homfast on X": of_product}
        if against_product
        else {
            "numpy": numpy_peer,
            "torch": torch_peer,
        }
    )
    return libraries.compared(lambda: op.forward_factors(u, v), peers, check)


# deepinv ------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _physics(deepinv: Any, side: int) -> Any:
    """deepinv's operator, of the same ensemble; its constructor also inverts the matrix."""
    return deepinv.physics.CompressedSensing(m=side * side // 4, img_size=(1, side, side))


def forget() -> None:
    """Free deepinv's operator."""
    _physics.cache_clear()


def _compressed_sensing(side: int, product: str, libraries: Libraries) -> Comparison:
    """Construction is up to the first measurement of one image, when our matrix exists too."""
    m, n = side * side // 4, side * side
    op = measure.Gaussian(m, n, seed=SEED)
    adjoint = product == "adjoint"
    batch = 1 if product == "construction" else IMAGE_BATCH
    x = _normal(batch, m if adjoint else n)
    image = x if adjoint else x.reshape(batch, 1, side, side)
    matrices = {ours.name: op.to_dense()}

    def own() -> Any:
        if product == "construction":
            return measure.Gaussian(m, n, seed=SEED).forward(x)
        return (op.adjoint if adjoint else op.forward)(x)

    def peer(deepinv: Any) -> Call:
        tensor = importlib.import_module("torch").from_numpy(image)
        physics = _physics(deepinv, side)
        matrices["deepinv"] = np.asarray(physics._A)

        def construct() -> Any:
            made = deepinv.physics.CompressedSensing(m=m, img_size=(1, side, side))
            matrices["deepinv"] = np.asarray(made._A)
            return made.A(tensor)

        if product == "construction":
            return construct
        return (lambda: physics.A_adjoint(tensor)) if adjoint else (lambda: physics.A(tensor))

    def check(name: str, result: Any) -> None:
        matrix = matrices[name].astype(np.float64)
        matrix = matrix if adjoint else matrix.T
        wide = x.astype(np.float64)
        error = gamma(x.shape[1] + 4) * (np.abs(wide) @ np.abs(matrix))
        check_near(name, np.asarray(result).reshape(batch, -1), wide @ matrix, error)

    return libraries.compared(own, {"deepinv": peer}, check)
