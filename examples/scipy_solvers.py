"""Least squares and singular values by SciPy, with an operator that stores no matrix.

``op.to_scipy()`` is a ``scipy.sparse.linalg.LinearOperator``, so that every iterative method of
SciPy takes it: here `lsmr` solves a regularised least-squares problem, and `svds` finds the largest
singular values. Beside each stands the same call with the matrix:

    python examples/scipy_solvers.py

SciPy's vectors are float64; operators in float64 keep them so.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy.sparse.linalg import aslinearoperator, lsmr, svds

import homfast


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="n, the length of a signal")
    parser.add_argument("--measurements", type=int, default=1024, help="m")
    parser.add_argument("--values", type=int, default=5, help="singular values")
    return parser.parse_args()


def timed(call):
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def main() -> None:
    options = arguments()
    op = homfast.measure.Hadamard(options.measurements, options.size, seed=1, dtype=np.float64)
    # A product of operators is one: the signal is convolved before it is measured.
    op = op @ homfast.measure.Circulant(options.size, options.size, seed=2, dtype=np.float64)
    operator, matrix = op.to_scipy(), op.to_dense()
    print(f"{op!r}: its matrix would take {matrix.nbytes / 2**20:.0f} MiB")

    signal = np.random.default_rng(0).standard_normal(options.size)
    measured = op(signal)
    solutions = []
    for name, A in (("homfast", operator), ("NumPy matrix", aslinearoperator(matrix))):
        found, seconds = timed(lambda A=A: lsmr(A, measured, damp=1e-3, atol=1e-10, btol=1e-10))
        solutions.append(found[0])
        print(f"lsmr with {name}: {found[2]} iterations, {1e3 * seconds:.1f} ms")
    print(f"  they differ by {relative(*solutions):.1e}")

    start = np.ones(options.measurements)
    spectra = []
    for name, A in (("homfast", operator), ("NumPy matrix", aslinearoperator(matrix))):
        found, seconds = timed(
            lambda A=A: svds(A, k=options.values, v0=start, return_singular_vectors=False)
        )
        spectra.append(np.sort(found))
        print(f"svds with {name}: {1e3 * seconds:.1f} ms, largest {max(found):.6f}")
    print(f"  they differ by {relative(*spectra):.1e}")
    print(f"homfast's own norm(): {op.norm():.6f}")


def relative(ours: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(ours - wanted) / np.linalg.norm(wanted))


if __name__ == "__main__":
    main()
