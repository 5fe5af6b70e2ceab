"""Sparse recovery by ``pylops.optimization``, PyLops' operator and ours side by side.

The problem of PyLops' gallery page "MP, OMP, ISTA and FISTA"
(https://pylops.readthedocs.io/en/stable/gallery/plot_ista.html): a Gaussian matrix of normalised
columns, underdetermined, and a sparse model to find with `omp`, `ista` and `fista`. First in the
size of that page, with ``pylops.MatrixMult(A)``; then with ``Dense(A).to_pylops()`` instead; then
larger, with operators that homfast makes from a seed:

    python examples/pylops_sparse.py

Nothing else changes, so that the answers agree to rounding.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pylops
from pylops.optimization.sparsity import fista, ista, omp

import homfast


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="n of the larger problem")
    parser.add_argument("--measurements", type=int, default=512, help="m of the larger problem")
    parser.add_argument("--nonzeros", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=200)
    return parser.parse_args()


def side_by_side(theirs, ours, solvers, true) -> None:
    """Each solver with both operators: how far apart they are, how far from the truth, the time."""
    y = theirs @ true
    for name, solve in solvers.items():
        found, seconds = [], []
        for operator in (theirs, ours):
            start = time.perf_counter()
            found.append(solve(operator, y)[0])
            seconds.append(time.perf_counter() - start)
        apart = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
        error = np.linalg.norm(found[1] - true) / np.linalg.norm(true)
        print(
            f"  {name}: answers differ by {apart:.1e}, error {error:.1e}; "
            f"PyLops {1e3 * seconds[0]:.1f} ms, homfast {1e3 * seconds[1]:.1f} ms"
        )


def main() -> None:
    options = arguments()
    generator = np.random.default_rng(4)
    m, n = 15, 20
    A = generator.standard_normal((m, n))
    A /= np.linalg.norm(A, axis=0)
    true = generator.random(n)
    true[true < 0.9] = 0
    print(f"as on the page, ({m}, {n}), {np.count_nonzero(true)} nonzeros:")
    solvers = {
        "omp": lambda op, y: omp(op, y, niter_outer=n, sigma=1e-4),
        "ista": lambda op, y: ista(op, y, niter=500, eps=1e-2, alpha=alpha, tol=0),
        "fista": lambda op, y: fista(op, y, niter=500, eps=1e-2, alpha=alpha, tol=0),
    }
    alpha = 1 / np.linalg.norm(A, 2) ** 2
    dense = homfast.measure.Dense(A)
    side_by_side(pylops.MatrixMult(A), dense.to_pylops(), solvers, true)

    m, n = options.measurements, options.size
    gaussian = homfast.measure.Gaussian(m, n, seed=1, dtype=np.float64)
    matrix = gaussian.to_dense()
    true = np.zeros(n)
    places = generator.choice(n, options.nonzeros, replace=False)
    true[places] = generator.standard_normal(options.nonzeros)
    alpha = 1 / gaussian.norm() ** 2
    print(f"larger, ({m}, {n}), {options.nonzeros} nonzeros, {gaussian!r}:")
    large = {
        "fista": lambda op, y: fista(op, y, niter=options.iterations, eps=5e-2, alpha=alpha, tol=0)
    }
    side_by_side(pylops.MatrixMult(matrix), gaussian.to_pylops(), large, true)
    hadamard = homfast.measure.Hadamard(m, n, seed=1, dtype=np.float64)
    alpha = 1 / hadamard.norm() ** 2
    print(f"{hadamard!r}:")
    side_by_side(pylops.MatrixMult(hadamard.to_dense()), hadamard.to_pylops(), large, true)


if __name__ == "__main__":
    main()
