"""Fast transforms: Walsh-Hadamard alone, and operators of random rows of four transforms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from homfast import measure
from homfast._backends import reference
from homfast.bench.expected import WrongResult
from homfast.bench.operators_cases import (
    Call,
    Check,
    Comparison,
    Libraries,
    Task,
    check_near,
    check_rows_near,
    gamma,
    scaled,
)
from homfast.bench.threads import default_threads

SEED = 7
WALSH_HADAMARD = ((4096, 1 << 10), (1, 1 << 20))
MATRIX = (64, 4096)
ROWS, COLUMNS, BATCH = 16384, 65536, 64


def tasks(scale: int) -> Iterator[Task]:
    """The lines, with sizes divided by `scale`."""
    for batch, n in WALSH_HADAMARD:
        shape = scaled(batch, scale), scaled(n, scale, 2)
        make = functools.partial(_walsh_hadamard, shape)
        yield Task("Walsh-Hadamard", f"n {shape[1]}, batch {shape[0]}", "transform", make)
    shape = MATRIX[0], scaled(MATRIX[1], scale, 2)
    make = functools.partial(_against_matrix, shape)
    size = f"n {shape[1]}, batch {shape[0]}"
    yield Task("Walsh-Hadamard, not the matrix", size, "transform", make)
    m, n = scaled(ROWS, scale, 2), scaled(COLUMNS, scale, 2)
    for family in _FAMILIES:
        for product in ("forward", "adjoint"):
            make = functools.partial(_subsampled, family, m, n, BATCH, product)
            yield Task(family, f"{m} x {n}, batch {BATCH}", product, make)


# The transform alone ------------------------------------------------------------------------------


def _walsh_hadamard(shape: tuple[int, int], libraries: Libraries) -> Comparison:
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    out = np.empty_like(x)

    def fht_peer(module: Any) -> Call:
        result, threads = np.empty_like(x), default_threads()
        source, target = (x, result) if len(x) > 1 else (x[0], result[0])

        def call() -> np.ndarray:
            module.fht(source, out=target, num_threads=threads)
            return result

        return call

    return libraries.compared(
        lambda: measure.walsh_hadamard(x, out=out),
        {"fht-cpu": fht_peer},
        _walsh_hadamard_check(x),
        moved_bytes=2 * x.nbytes,
    )


def _against_matrix(shape: tuple[int, int], libraries: Libraries) -> Comparison:
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    out, result = np.empty_like(x), np.empty_like(x)

    def matrix_peer(scipy: Any) -> Call:
        matrix = scipy.linalg.hadamard(shape[1]).astype(np.float32)
        return lambda: np.matmul(x, matrix, out=result)

    own = functools.partial(measure.walsh_hadamard, x, out=out)
    check = _walsh_hadamard_check(x, gamma(shape[1]))
    return libraries.compared(own, {"scipy": matrix_peer}, check)


def _walsh_hadamard_check(x: np.ndarray, relative: float | None = None) -> Check:
    """The first and the last row, within log2(n) u |x|_1, or as a sum in any order."""
    rows = [0, -1]
    wide = x[rows].astype(np.float64)
    wanted = np.empty_like(wide)
    reference.walsh_hadamard(wide, wanted)
    if relative is None:
        relative = gamma(int(math.log2(x.shape[1])))
    error = relative * np.abs(wide).sum(axis=1, keepdims=True)

    def check(name: str, result: np.ndarray) -> None:
        if result.shape != x.shape:
            raise WrongResult(f"{name}: got shape {result.shape}, wanted {x.shape}")
        check_near(name, result[rows], wanted, error)

    return check


# Random rows of a transform -----------------------------------------------------------------------

_FAMILIES: dict[str, Any] = {
    "Hadamard": measure.Hadamard,
    "Cosine": measure.Cosine,
    "Fourier": measure.Fourier,
    "Circulant": measure.Circulant,
}
_Transform = Callable[[Any, bool], Any]


def _subsampled(
    family: str, m: int, n: int, batch: int, product: str, libraries: Libraries
) -> Comparison:
    op = _FAMILIES[family](m, n, seed=SEED)
    adjoint, own = product == "adjoint", getattr(op, product)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, m if adjoint else n), dtype=np.float32)
    if op.dtype.kind == "c":
        x = x + 1j * generator.standard_normal(x.shape, dtype=np.float32)
    scale, indices = _scale(op), op.row_indices

    def numpy_form(make: Callable[[Any], _Transform]) -> Callable[[Any], Call]:
        """Transform and take, or scatter and transform back, in NumPy around a library's."""

        def peer(module: Any) -> Call:
            transform = make(module)

            def forward() -> np.ndarray:
                y = np.take(transform(x, False), indices, axis=1)
                return np.multiply(y, scale, out=y)

            def backward() -> np.ndarray:
                full = np.zeros((batch, n), x.dtype)
                full[:, indices] = x
                full = transform(full, True)
                return np.multiply(full, scale, out=full)

            return backward if adjoint else forward

        return peer

    def torch_form(make: Callable[[Any], _Transform]) -> Callable[[Any], Call]:
        def peer(torch: Any) -> Call:
            transform, source = make(torch), torch.from_numpy(x)
            where = torch.from_numpy(indices.copy())

            def forward() -> Any:
                return transform(source, False).index_select(1, where).mul_(scale)

            def backward() -> Any:
                full = torch.zeros((batch, n), dtype=source.dtype)
                return transform(full.index_copy_(1, where, source), True).mul_(scale)

            return backward if adjoint else forward

        return peer

    def pylops_form(make: Callable[[Any], Any]) -> Callable[[Any], Call]:
        def peer(pylops: Any) -> Call:
            take = pylops.Restriction((batch, n), indices, axis=1, dtype=x.dtype)
            whole = take @ make(pylops)
            apply = whole.rmatvec if adjoint else whole.matvec
            shape = (batch, n if adjoint else m)

            def call() -> np.ndarray:
                y = apply(x.ravel()).reshape(shape)
                return np.multiply(y, scale, out=y)

            return call

        return peer

    forms = {"scipy": numpy_form, "fht-cpu": numpy_form, "torch": torch_form, "pylops": pylops_form}
    makers = _PEERS[family](op, batch)
    peers = {library: forms[library](make) for library, make in makers.items()}
    return libraries.compared(lambda: own(x), peers, _subsampled_check(op, x, product))


def _scale(op: Any) -> float:
    """The factor behind the product of an operator with the default `normalize`."""
    m, n = op.shape
    orthonormal = isinstance(op, (measure.Cosine, measure.Fourier))
    return math.sqrt(n / m) if orthonormal else 1 / math.sqrt(m)


def _subsampled_check(op: Any, x: np.ndarray, product: str) -> Check:
    """The first and the last row against float64, in the 2-norm: 8 u log2(n) |A| |x|."""
    m, n = op.shape
    rows, scale, adjoint = [0, -1], _scale(op), product == "adjoint"
    wide = x[rows].astype(np.complex128 if op.dtype.kind == "c" else np.float64)
    if adjoint:
        full = np.zeros((len(rows), n), wide.dtype)
        full[:, op.row_indices] = wide
        exact, norm = _EXACT[type(op).__name__](op, full, True)
        wanted = exact * scale
    else:
        exact, norm = _EXACT[type(op).__name__](op, wide, False)
        wanted = exact[:, op.row_indices] * scale
    unit = float(np.finfo(np.float32).eps) / 2
    error = 8 * unit * math.log2(n) * norm * scale * np.linalg.norm(wide, axis=1)

    def check(name: str, result: Any) -> None:
        if tuple(result.shape) != (len(x), n if adjoint else m):
            raise WrongResult(f"{name}: got shape {tuple(result.shape)}")
        check_rows_near(name, np.asarray(result)[rows], wanted, error)

    return check


# What each transform is in float64, with the norm of the whole; and in the peers.


def _exact_hadamard(op: Any, x: np.ndarray, adjoint: bool) -> tuple[np.ndarray, float]:
    n = x.shape[1]  # a power of two here
    y = np.empty_like(x)
    reference.walsh_hadamard(x if adjoint else x * op.signs, y)
    return y * op.signs if adjoint else y, math.sqrt(n)


def _exact_cosine(op: Any, x: np.ndarray, adjoint: bool) -> tuple[np.ndarray, float]:
    y = np.empty_like(x)
    (reference.inverse_cosine if adjoint else reference.cosine)(x, y)
    return y, 1.0


def _exact_fourier(op: Any, x: np.ndarray, adjoint: bool) -> tuple[np.ndarray, float]:
    return (np.fft.ifft if adjoint else np.fft.fft)(x, norm="ortho"), 1.0


def _exact_circulant(op: Any, x: np.ndarray, adjoint: bool) -> tuple[np.ndarray, float]:
    spectrum = np.fft.rfft(op.first_column.astype(np.float64))
    factor = np.conj(spectrum) if adjoint else spectrum
    return np.fft.irfft(np.fft.rfft(x) * factor, x.shape[1]), float(np.abs(spectrum).max())


_EXACT: dict[str, Any] = {
    "Hadamard": _exact_hadamard,
    "Cosine": _exact_cosine,
    "Fourier": _exact_fourier,
    "Circulant": _exact_circulant,
}


def _hadamard_peers(op: Any, batch: int) -> dict[str, Any]:
    threads = default_threads()

    def fht(module: Any) -> _Transform:
        def transform(x: np.ndarray, adjoint: bool) -> np.ndarray:
            if adjoint:
                module.fht(x, num_threads=threads)  # in place
                return np.multiply(x, op.signs, out=x)
            return module.fht(x * op.signs, num_threads=threads)

        return transform

    return {"fht-cpu": fht}


def _cosine_peers(op: Any, batch: int) -> dict[str, Any]:
    threads = default_threads()

    def dct(scipy: Any) -> _Transform:
        def transform(x: np.ndarray, adjoint: bool) -> np.ndarray:
            apply = scipy.fft.idct if adjoint else scipy.fft.dct
            return apply(x, norm="ortho", overwrite_x=adjoint, workers=threads)

        return transform

    def pylops_dct(pylops: Any) -> Any:
        shape = (batch, op.shape[1])
        return pylops.signalprocessing.DCT(shape, axes=1, dtype=op.dtype, workers=threads)

    return {"scipy": dct, "pylops": pylops_dct}


def _fourier_peers(op: Any, batch: int) -> dict[str, Any]:
    threads = default_threads()

    def fft(scipy: Any) -> _Transform:
        def transform(x: np.ndarray, adjoint: bool) -> np.ndarray:
            apply = scipy.fft.ifft if adjoint else scipy.fft.fft
            return apply(x, norm="ortho", overwrite_x=adjoint, workers=threads)

        return transform

    def torch_fft(torch: Any) -> _Transform:
        return lambda x, adjoint: (torch.fft.ifft if adjoint else torch.fft.fft)(x, norm="ortho")

    def pylops_fft(pylops: Any) -> Any:
        return pylops.signalprocessing.FFT(
            (batch, op.shape[1]),
            axis=1,
            norm="ortho",
            engine="scipy",
            dtype=op.dtype,
            workers=threads,
        )

    return {"scipy": fft, "torch": torch_fft, "pylops": pylops_fft}


def _circulant_peers(op: Any, batch: int) -> dict[str, Any]:
    threads, n = default_threads(), op.shape[1]
    spectrum = np.fft.rfft(op.first_column.astype(np.float64)).astype(np.complex64)
    factors = {False: spectrum, True: np.conj(spectrum)}

    def convolution(scipy: Any) -> _Transform:
        def transform(x: np.ndarray, adjoint: bool) -> np.ndarray:
            product = scipy.fft.rfft(x, workers=threads)
            product *= factors[adjoint]
            return scipy.fft.irfft(product, n, overwrite_x=True, workers=threads)

        return transform

    def torch_convolution(torch: Any) -> _Transform:
        tensors = {adjoint: torch.from_numpy(factor) for adjoint, factor in factors.items()}
        fft = torch.fft
        return lambda x, adjoint: fft.irfft(fft.rfft(x).mul_(tensors[adjoint]), n)

    return {"scipy": convolution, "torch": torch_convolution}


_PEERS: dict[str, Any] = {
    "Hadamard": _hadamard_peers,
    "Cosine": _cosine_peers,
    "Fourier": _fourier_peers,
    "Circulant": _circulant_peers,
}
