"""Two hidden layers recover sparse signals: exactly, to any precision, and stably."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "Two hidden layers recover sparse signals"
CLAIMS = {
    "one_sparse": Claim("worst relative error over ±t e_j, one-sparse decoder", at_most=1e-9),
    "two_sparse": Claim(
        "largest relative error over two-sparse signals, over the certificate's bound",
        at_most=1.0,
    ),
    "ista": Claim("largest error of the unrolled network, over its certificate", at_most=1 + 1e-9),
    "noise": Claim("largest error under noise over certificate times noise", at_most=1 + 1e-9),
    "slope_low": Claim("slope of the error in the noise, log-log", at_least=0.9),
    "slope_high": Claim("the same slope", at_most=1.1),
    "trained": Claim(
        "rms error over ±e_j of the widest trained network over the bound of one hidden layer",
        at_most=0.9,
    ),
}
_M, _N = 12, 24
_WIDTHS = (32, 128, 512)
_SHARPNESS = (1e2, 1e3, 1e4, 1e5)
_NOISES = 10.0 ** np.arange(-6.0, -0.5)


def run(lab: Lab) -> Outcome:
    """Constructed networks against their certificates, and trained ones."""
    one, noise_errors, gain = _one_sparse(lab)
    two = _two_sparse(lab)
    ista = _ista(lab)
    matrix = signals.gaussian(_M, _N, lab.generator)
    trained: dict[int, list[float]] = {}
    for s in (1, 2, 4):
        trained[s] = []
        for width in _WIDTHS:
            net = _train(lab, matrix, s, width)
            x = signals.unit_vectors(_N)
            if s > 1:
                x = signals.sparse(2000, _N, s, lab.generator)
            found = signals.errors(net, matrix, x)
            trained[s].append(float(np.sqrt(np.mean(found**2))))
    bound = construct.one_hidden_layer_bound(matrix)
    tilt = signals.slope(_NOISES[:4], noise_errors[:4])
    measured = {
        "one_sparse": one,
        "two_sparse": float(np.max(np.array(two["error"]) / np.array(two["bound"]))),
        "ista": ista.pop("ratio"),
        "noise": gain,
        "slope_low": tilt,
        "slope_high": tilt,
        "trained": trained[1][-1] / bound,
    }
    numbers = {
        "noises": _NOISES, "noise_errors": noise_errors, "two_sparse": two, "ista": ista,
        "widths": _WIDTHS, "trained": trained, "one_layer_bound": bound,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third, fourth = style.panels(figure, 4)
        first.plot(two["sharpness"], two["error"], "o-", label="measured, sup")
        first.plot(two["sharpness"], two["bound"], "--", color=style.INK, label="certificate")
        style.label(
            first, "Two-sparse, constructed, (6, 12)", "sharpness M", "relative error", log="xy"
        )
        second.plot(_NOISES, noise_errors, "o-", color=style.GREEN, label="one-sparse decoder")
        style.label(
            second, f"Noise: slope {tilt:.2f}", "noise |e|", "mean error, |x| = 1", log="xy"
        )
        third.plot(ista["s"], ista["error"], "o-", color=style.PURPLE, label="measured")
        proved = [s for s in ista["s"] if s < ista["limit"]]
        third.plot(proved, ista["bound"][: len(proved)], "--", color=style.INK, label="certificate")
        third.axvline(ista["limit"], color=style.GRAY, lw=1, label="guarantee ends")
        third.set_xticks(range(1, 13, 2))
        style.label(third, "Unrolled, 60 layers", "nonzeros s", "largest l1 error", log="y")
        for s, values in trained.items():
            fourth.plot(_WIDTHS, values, "o-", label=f"s = {s}")
        style.bound_line(fourth, bound, "one hidden layer, s = 1")
        fourth.set_ylim(0, 1.4)
        style.label(fourth, f"Trained, ({_M}, {_N})", "hidden units", "rms error, |x| = 1")
        style.counts(fourth, _WIDTHS)
        fourth.legend(loc="upper right")

    return Outcome(measured, numbers, draw)


def _one_sparse(lab: Lab) -> tuple[float, np.ndarray, float]:
    """Worst error without noise, mean error at each noise, and the largest share of the bound."""
    matrix = signals.gaussian(_M, 40, lab.generator)
    net = construct.one_sparse_decoder(matrix)
    unit = signals.unit_vectors(40)
    worst = max(signals.errors(net, matrix, t * unit).max() / t for t in (1e-6, 1.0, 1e6))
    direction = lab.generator.standard_normal((80, _M))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    found = [net(unit @ matrix.T + size * direction) - unit for size in _NOISES]
    largest = [np.abs(each).max() for each in found]
    share = float(np.max(np.array(largest) / (net.certificate.lipschitz * _NOISES)))
    mean = np.array([np.linalg.norm(each, axis=1).mean() for each in found])
    return float(worst), mean, share


def _two_sparse(lab: Lab) -> dict[str, list[float]]:
    """Relative error of the larger entry over all pairs and ratios, with its bound."""
    n = 12
    matrix = signals.gaussian(6, n, lab.generator)
    first, second = np.triu_indices(n, 1)
    rows = []
    for k in range(8):
        for sign in (1.0, -1.0):
            x = np.zeros((2 * len(first), n))
            x[np.arange(len(first)), first] = 1.0
            x[np.arange(len(first)), second] = sign * 10.0**-k
            x[len(first) :] = x[: len(first)][:, ::-1]
            rows.append(x)
    x = np.vstack(rows)
    result: dict[str, list[float]] = {"sharpness": [], "error": [], "bound": []}
    needed = 0.0
    for sharpness in _SHARPNESS:
        lab.note(f"two-sparse decoder, sharpness {sharpness:g}")
        net = construct.two_sparse_decoder(matrix, sharpness, seed=lab.seed)
        needed = net.certificate.sharpness_needed
        if sharpness <= needed:
            continue  # no bound yet
        error = np.abs(net(x @ matrix.T) - x).max(axis=1)
        result["sharpness"].append(sharpness)
        result["error"].append(float(error.max()))
        result["bound"].append(net.certificate.error_bound)
    return result


def _ista(lab: Lab) -> dict[str, Any]:
    """Errors of the network for the largest guaranteed sparsity, on sparser and denser x."""
    matrix = signals.incoherent(64)
    limit = 0.5 * (1 + 8.0)
    sparsity = int(np.ceil(limit)) - 1
    net = construct.homogeneous_ista(matrix, sparsity, 59)
    sizes = list(range(1, 13))
    error, bound = [], []
    for s in sizes:
        x = signals.sparse(200, matrix.shape[1], s, lab.generator)
        y = x @ matrix.T
        error.append(np.abs(net(y) - x).sum(axis=1).max())
        bound.append((net.certificate.factors[-1] * np.abs(y).sum(axis=1)).max())
    kept = sparsity
    ratio = float(np.max(np.array(error[:kept]) / np.array(bound[:kept])))
    return {"s": sizes, "error": error, "bound": bound, "limit": limit, "ratio": ratio}


def _train(lab: Lab, matrix: np.ndarray, s: int, width: int) -> homfast.ReLUNetwork:
    net = homfast.ReLUNetwork.random([_M, width, width, _N], seed=lab.seed)
    forward = matrix.T.astype(np.float32)
    unit = signals.unit_vectors(_N, np.float32)

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = unit if s == 1 else signals.sparse(128, _N, s, generator, np.float32)
        return x @ forward, x

    lab.train(net, batch, share=0.08, least=250, label=f"s = {s}, width {width}")
    return net
