"""Which activations can recover: alpha relu(t) + beta relu(-t) with |alpha| != |beta|."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab, always

TITLE = "Every activation but two recovers"
CLAIMS = {
    "even": Claim(
        "worst error over ±e_j of a trained network of units |t| (alpha = beta)", at_least=1 - 1e-5
    ),
    "linear": Claim(
        "worst error of a trained network of units t (alpha = -beta) over sqrt(1 - m/n)",
        at_least=1 - 1e-5,
    ),
    "exact": Claim(
        "worst error of the one-sparse decoder rewritten in leaky and alpha, beta units",
        at_most=1e-9,
    ),
    "refused": Claim("rewritings refused at |alpha| = |beta|, of two", at_least=2.0),
}
_M, _N = 12, 24
# sigma(t) = relu(t) + beta relu(-t): beta = 1 is |t|, 0 ReLU, -1 the identity.
_BETAS = (-1.0, -0.99, -0.5, -0.1, 0.0, 0.1, 0.5, 0.99, 1.0)


def run(lab: Lab) -> Outcome:
    """Train and construct with units relu(t) + beta relu(-t)."""
    matrix = signals.gaussian(_M, _N, lab.generator)
    unit = signals.unit_vectors(_N)
    decoder = construct.one_sparse_decoder(matrix)
    bound = construct.one_hidden_layer_bound(matrix)
    batch = (unit @ matrix.T).astype(np.float32), unit.astype(np.float32)
    trained, rewritten = [], []
    for beta in _BETAS:
        start = homfast.ReLUNetwork.random([_M, 128, 128, _N], seed=lab.seed).weights
        net = homfast.ReLUNetwork(start, negative_slope=-beta)
        lab.train(net, always(*batch), share=0.1, label=f"beta = {beta:g}")
        trained.append(float(signals.errors(net, matrix, unit).max()))
        if abs(beta) < 1:
            same = construct.change_activation(decoder, 1.0, beta)
            rewritten.append(float(signals.errors(same, matrix, unit).max()))
    more = construct.change_activation(decoder, -0.5, 2.0)
    rewritten.append(float(signals.errors(more, matrix, unit).max()))
    refused = 0
    for beta in (1.0, -1.0):
        try:
            construct.change_activation(decoder, 1.0, beta)
        except ValueError:
            refused += 1
    measured = {
        "even": trained[-1],
        "linear": trained[0] / bound,
        "exact": max(rewritten),
        "refused": float(refused),
    }
    numbers = {"betas": _BETAS, "trained": trained, "rewritten": rewritten, "bound": bound}

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        left.plot(_BETAS, trained, "o-", label="two hidden layers, trained")
        left.plot(_BETAS[1:-1], rewritten[:-1], "s", color=style.GREEN, label="constructed")
        left.plot(-1, bound, "_", ms=14, mew=2, color=style.INK, label="bounds at beta = -1 and 1")
        left.plot(1, 1, "_", ms=14, mew=2, color=style.INK)
        left.set_ylim(-0.05, 1.5)
        style.label(
            left, "Recovery of ±e_j", "beta of relu(t) + beta relu(-t)", "worst error, |x| = 1"
        )
        t = np.linspace(-1, 1, 201)
        for beta, name in ((0.0, "ReLU"), (-0.1, "leaky"), (1.0, "|t|: even"), (-1.0, "t: linear")):
            dashed = "--" if abs(beta) == 1 else "-"
            values = np.maximum(t, 0) + beta * np.maximum(-t, 0)
            right.plot(t, values, dashed, label=f"{name}, beta = {beta:g}")
        style.label(right, "Units", "t", "sigma(t)")

    return Outcome(measured, numbers, draw)
