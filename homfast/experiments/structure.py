"""What the same networks gain when they are told more of the problem."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "What is known of the problem lowers errors, until noise dominates"
CLAIMS = {
    "operator": Claim(
        "error with A x = y enforced (one linear step more) over error without, no noise, largest",
        at_most=1 + 1e-9,
    ),
    "operator_noise": Claim(
        "error with A x = y enforced over error without plus |A^+ e|, largest over all noise",
        at_most=1 + 1e-9,
    ),
    "nonnegative": Claim(
        "error with a last ReLU over error without, non-negative signals, largest",
        at_most=1 + 1e-9,
    ),
    "blocks": Claim(
        "noise constant D of block-sparse signals over that of all sparse ones", at_most=1 + 1e-12
    ),
}
_M, _N, _BLOCK = 12, 16, 2
_NOISES = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0])


def run(lab: Lab) -> Outcome:
    """Train one architecture on three kinds of signals, and add what is known of each."""
    matrix = signals.gaussian(_M, _N, lab.generator)
    inverse = np.linalg.pinv(matrix)
    kinds = {"sparse": _sparse, "non-negative": _nonnegative, "blocks": _blocks}
    nets = {}
    for name, draw_signals in kinds.items():
        nets[name] = _train(lab, matrix, draw_signals, name)
    direction = lab.generator.standard_normal((2000, _M))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    curves: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {"operator": [], "operator_noise": [], "nonnegative": []}

    def remember(name: str, found: np.ndarray, x: np.ndarray) -> np.ndarray:
        error = np.linalg.norm(found - x, axis=1)
        curves.setdefault(name, []).append(float(error.mean()))
        return error

    samples = {name: kind(2000, lab.generator) for name, kind in kinds.items()}
    for noise in _NOISES:
        e = noise * direction
        x = samples["sparse"]
        y = x @ matrix.T + e
        plain = _apply(nets["sparse"], y)
        before = remember("sparse: measurements alone", plain, x)
        consistent = plain + (y - plain @ matrix.T) @ inverse.T
        after = remember("sparse: operator given", consistent, x)
        if noise == 0:
            ratios["operator"].append(float((after / before).max()))
        extra = np.linalg.norm(e @ inverse.T, axis=1)
        ratios["operator_noise"].append(float((after / (before + extra)).max()))
        x = samples["non-negative"]
        y = x @ matrix.T + e
        plain = _apply(nets["non-negative"], y)
        before = remember("non-negative: network", plain, x)
        after = remember("non-negative: and a last ReLU", np.maximum(plain, 0.0), x)
        ratios["nonnegative"].append(float((after / before).max()))
        x = samples["blocks"]
        y = x @ matrix.T + e
        remember("blocks: trained on all sparse", _apply(nets["sparse"], y), x)
        remember("blocks: trained on blocks", _apply(nets["blocks"], y), x)
    block, plain_delta = _block_isometry(matrix), _isometry(matrix, 2 * _BLOCK)
    constants = {name: _noise_constant(*found) for name, found in
                 {"blocks": block, "sparse": plain_delta}.items()}  # fmt: skip
    measured = {name: max(values) for name, values in ratios.items()}
    measured["blocks"] = constants["blocks"] / constants["sparse"]
    numbers = {"noises": _NOISES, "mean_errors": curves, "noise_constants": constants}

    def draw(figure: Any) -> None:
        axes = style.panels(figure, 3, sharey=True)
        titles = {
            "sparse": "Sparse signals",
            "non-negative": "Non-negative signals",
            "blocks": "Block-sparse signals",
        }
        for axis, kind in zip(axes, ("sparse", "non-negative", "blocks"), strict=True):
            for name, values in curves.items():
                if name.startswith(kind):
                    axis.plot(_NOISES, values, "o-", label=name.partition(": ")[2])
            axis.set_xscale("symlog", linthresh=0.01)
            style.label(axis, titles[kind], "noise |e|, |x| = 1", "mean error")
        axes[1].set_ylabel("")
        axes[2].set_ylabel("")
        axes[2].text(
            0.03, 0.66, f"D = {constants['blocks']:.2f} for blocks,\n"
            f"{constants['sparse']:.2f} for all {2 * _BLOCK}-sparse",
            transform=axes[2].transAxes, color=style.SOFT, fontsize=8,
        )  # fmt: skip

    return Outcome(measured, numbers, draw)


def _sparse(count: int, generator: np.random.Generator) -> np.ndarray:
    return signals.sparse(count, _N, _BLOCK, generator)


def _nonnegative(count: int, generator: np.random.Generator) -> np.ndarray:
    return np.abs(_sparse(count, generator))


def _blocks(count: int, generator: np.random.Generator) -> np.ndarray:
    values = generator.standard_normal((count, _BLOCK))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    x = np.zeros((count, _N // _BLOCK, _BLOCK))
    x[np.arange(count), generator.integers(0, _N // _BLOCK, count)] = values
    return x.reshape(count, _N)


def _train(lab: Lab, matrix: np.ndarray, kind: Any, name: str) -> homfast.ReLUNetwork:
    net = homfast.ReLUNetwork.random([_M, 192, 192, _N], seed=lab.seed)

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = kind(256, generator)
        noise = generator.standard_normal((256, _M)) * (0.1 / np.sqrt(_M))
        return (x @ matrix.T + noise).astype(np.float32), x.astype(np.float32)

    lab.train(net, batch, share=0.28, label=f"{name} signals")
    return net


def _apply(net: homfast.ReLUNetwork, y: np.ndarray) -> np.ndarray:
    return net(y.astype(np.float32)).astype(np.float64)


def _isometry(matrix: np.ndarray, s: int) -> tuple[float, float]:
    import itertools

    supports = np.array(list(itertools.combinations(range(matrix.shape[1]), s)))
    return _extremes(matrix, supports)


def _block_isometry(matrix: np.ndarray) -> tuple[float, float]:
    """Over supports of two blocks, differences of two block-sparse signals."""
    import itertools

    grid = np.arange(_N).reshape(-1, _BLOCK)
    pairs = list(itertools.combinations(range(len(grid)), 2))
    return _extremes(matrix, np.array([np.concatenate([grid[i], grid[j]]) for i, j in pairs]))


def _extremes(matrix: np.ndarray, supports: np.ndarray) -> tuple[float, float]:
    sizes = np.linalg.svd(matrix.T[supports], compute_uv=False)
    return float(sizes.min()), float(sizes.max())


def _noise_constant(smallest: float, largest: float) -> float:
    """D for the matrix scaled best: ``c^2 = 1 - delta``, in the scale of the matrix given."""
    scale = np.sqrt(2.0 / (smallest**2 + largest**2))
    delta = 1.0 - (scale * smallest) ** 2
    return float(scale * construct.robust_constants(delta).D)
