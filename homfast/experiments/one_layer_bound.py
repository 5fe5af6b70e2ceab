"""One hidden layer cannot recover one-sparse signals, whatever its width and training."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab, always

TITLE = "One hidden layer never recovers sparse signals"
CLAIMS = {
    "unit_vectors": Claim(
        "worst error over all ±e_j of the best trained network of one hidden layer, "
        "over sqrt(1 - m/n)",
        at_least=1 - 1e-5,
    ),
    "sparse": Claim(
        "worst error over three-sparse patterns of the best trained network, over its bound",
        at_least=1 - 1e-5,
    ),
    "parseval": Claim(
        "error of f(y) = A^T y over the bound, equal-norm Parseval A", at_most=1 + 1e-6
    ),
    "enough": Claim("error of one hidden layer where m = n, bound 0", at_most=1e-10),
    "two_layers": Claim(
        "worst error of two hidden layers, constructed, over the same ±e_j", at_most=1e-9
    ),
}
_M, _N, _S = 16, 32, 3
_WIDTHS = (16, 64, 256, 1024, 4096)


def run(lab: Lab) -> Outcome:
    """Train one hidden layer at five widths on two sets of signals."""
    matrix = signals.gaussian(_M, _N, lab.generator)
    patterns = signals.sparse(256, _N, _S, lab.generator)
    sets = {"unit_vectors": np.eye(_N), "sparse": patterns}
    bounds = {name: construct.one_hidden_layer_bound(matrix, x) for name, x in sets.items()}
    worst: dict[str, list[float]] = {name: [] for name in sets}
    for name, half in sets.items():
        x = np.vstack([half, -half])
        batch = (x @ matrix.T).astype(np.float32), x.astype(np.float32)
        for width in _WIDTHS:
            net = homfast.ReLUNetwork.random([_M, width, _N], seed=lab.seed)
            lab.train(net, always(*batch), share=0.09, label=f"{name}, {width} units")
            witness = construct.one_hidden_layer_witness(net, matrix, half)
            worst[name].append(float(signals.errors(net, matrix, witness[None])[0]))
    rows = signals.hadamard_matrix(_N) / np.sqrt(_N)
    attained, bound = [], []
    sizes = np.arange(2, _N + 1, 2)
    for m in sizes:
        tight = rows[:m]
        net = homfast.ReLUNetwork(
            [np.vstack([tight.T, -tight.T]), np.hstack([np.eye(_N), -np.eye(_N)])]
        )
        attained.append(signals.errors(net, tight, signals.unit_vectors(_N)).max())
        bound.append(construct.one_hidden_layer_bound(tight))
    decoder = construct.one_sparse_decoder(matrix)
    exact = signals.errors(decoder, matrix, signals.unit_vectors(_N)).max()
    measured = {name: min(errors) / bounds[name] for name, errors in worst.items()}
    measured["parseval"] = float(np.max(np.array(attained[:-1]) / np.array(bound[:-1])))
    measured["enough"] = float(max(attained[-1], bound[-1]))
    measured["two_layers"] = float(exact)
    numbers = {
        "widths": _WIDTHS, "worst": worst, "bounds": bounds,
        "sizes": sizes, "attained": attained, "parseval_bound": bound,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        names = {"unit_vectors": "±e_j", "sparse": f"{_S}-sparse patterns"}
        for color, (name, text) in zip(style.CYCLE, names.items(), strict=False):
            left.plot(_WIDTHS, worst[name], "o-", color=color, label=f"trained on {text}")
            style.bound_line(left, bounds[name], f"bound, {text}", color=color)
        left.set_ylim(0, 1.25)
        style.label(left, f"Gaussian A, m = {_M}, n = {_N}", "hidden units", "worst error, |x| = 1")
        style.counts(left, _WIDTHS)
        right.plot(sizes / _N, bound, color=style.INK, ls="--", label="bound sqrt(1 - m/n)")
        right.plot(sizes / _N, attained, "o", color=style.GREEN, label="A^T y, Parseval A")
        right.plot(_M / _N, exact, "s", color=style.PURPLE, label="two hidden layers, Gaussian A")
        style.label(right, "The bound is attained", "m / n", "worst error over ±e_j")

    return Outcome(measured, numbers, draw)
