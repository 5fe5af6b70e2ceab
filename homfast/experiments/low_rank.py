"""Matrices of rank one from fewer measurements than entries."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import data, signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "Rank-one matrices: two hidden layers beat every network with one"
CLAIMS = {
    "linear": Claim("worst relative error of the decoder where m = d1 d2", at_most=1e-9),
    "one_layer": Claim(
        "worst error of a trained network of one hidden layer over its bound, m = 8 of 9",
        at_least=1 - 1e-5,
    ),
    "constructed": Claim(
        "rms error of two constructed hidden layers, 256 features, over the bound of one, m = 8",
        at_most=0.8,
    ),
}
_D, _LARGE = 3, 6
_FEATURES = (32, 64, 128, 256)
_MEASUREMENTS = (12, 18, 24, 30)
_WIDTHS = (256, 256)


def run(lab: Lab) -> Outcome:
    """3 x 3 by construction at m = 8, 6 x 6 by training, and the hyperspectral scene."""
    generator = lab.generator
    square = generator.standard_normal((_D**2, _D**2))
    decoder = construct.low_rank_decoder(square, (_D, _D), seed=lab.seed)
    tested = rank_one(4000, _D, generator)
    linear = float(signals.errors(decoder, square, tested).max())
    # What eight measurements do not see is a multiple of a rotation: as far as can be from the
    # differences of two matrices of rank one.
    turn = np.linalg.qr(generator.standard_normal((_D, _D)))[0]
    matrix = np.linalg.svd(turn.reshape(1, -1))[2][1:]
    bound = construct.one_hidden_layer_bound(matrix, tested)
    rms, worst = [], []
    for features in _FEATURES:
        lab.note(f"{features} random features")
        fitted = rank_one(6 * features + 1000, _D, generator)
        net = construct.random_feature_approximator(
            fitted @ matrix.T, fitted, features, seed=lab.seed
        )
        error = signals.errors(net, matrix, tested)
        rms.append(float(np.sqrt(np.mean(error**2))))
        worst.append(float(error.max()))
    shallow = _train(lab, matrix, _D, [256], share=0.1)
    witness = construct.one_hidden_layer_witness(shallow, matrix, tested)
    alone = float(signals.errors(shallow, matrix, witness[None])[0])

    large = rank_one(3000, _LARGE, generator)
    basis = np.linalg.qr(generator.standard_normal((_LARGE**2, _LARGE**2)))[0]
    scene = _scene(generator)
    bounds, trained, pines = [], [], {}
    for m in _MEASUREMENTS:
        rows = basis[:m]
        bounds.append(construct.one_hidden_layer_bound(rows, large))
        net = _train(lab, rows, _LARGE, list(_WIDTHS), share=0.2)
        trained.append(float(np.sqrt(np.mean(signals.errors(net, rows, large) ** 2))))
        if m == 24:
            size = np.linalg.norm(scene, axis=1)
            pines["two hidden layers"] = signals.errors(net, rows, scene) / size
            pines["best linear"] = np.linalg.norm(scene - scene @ rows.T @ rows, axis=1) / size
    measured = {
        "linear": linear,
        "one_layer": alone / bound,
        "constructed": rms[-1] / bound,
    }
    numbers = {
        "features": _FEATURES, "rms": rms, "worst": worst, "bound": bound, "one_layer": alone,
        "measurements": _MEASUREMENTS, "trained_rms": trained, "bounds": bounds,
        "trained_widths": _WIDTHS,
        "indian_pines_median": {name: np.median(values) for name, values in pines.items()},
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third = style.panels(figure, 3)
        first.plot(_FEATURES, rms, "o-", label="rms")
        first.plot(_FEATURES, worst, "o:", color=style.BLUE, label="worst of 4000")
        style.bound_line(first, bound, "bound, one hidden layer")
        style.label(first, "3 x 3, m = 8, constructed", "features", "error, |X| = 1")
        first.set_ylim(0)
        style.counts(first, _FEATURES)
        second.plot(_MEASUREMENTS, trained, "o-", label="two hidden layers, rms")
        second.plot(_MEASUREMENTS, bounds, "--", color=style.INK, label="bound, one hidden layer")
        second.set_ylim(0)
        second.set_xticks(_MEASUREMENTS)
        style.label(second, "6 x 6, trained", "measurements m of 36", "error, |X| = 1")
        for name, values in pines.items():
            third.plot(np.sort(values), np.linspace(0, 1, len(values)), label=name)
        style.label(
            third, "Indian Pines, m = 24 of 36", "relative error", "share of 6 pixels x 6 bands"
        )

    return Outcome(measured, numbers, draw)


def rank_one(count: int, d: int, generator: np.random.Generator) -> np.ndarray:
    """Rows of random d x d matrices of rank one and norm one."""
    left, right = generator.standard_normal((2, count, d))
    x = np.einsum("bi,bj->bij", left, right).reshape(count, d * d)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _scene(generator: np.random.Generator) -> np.ndarray:
    """Six pixels of a line by six bands of the scene, less the mean spectrum: nearly rank one."""
    cube = data.indian_pines()
    bands = cube[:, :, 20:200:30]
    bands = bands - bands.mean(axis=(0, 1))
    place = generator.integers(0, 139, (2000, 2))
    return np.stack([bands[i, j : j + _LARGE].ravel() for i, j in place])


def _train(
    lab: Lab, matrix: np.ndarray, d: int, hidden: list[int], share: float
) -> homfast.ReLUNetwork:
    net = homfast.ReLUNetwork.random([len(matrix), *hidden, d * d], seed=lab.seed)

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = rank_one(256, d, generator)
        return (x @ matrix.T).astype(np.float32), x.astype(np.float32)

    lab.train(net, batch, share=share, least=300, label=f"{len(matrix)} measurements")
    return net
