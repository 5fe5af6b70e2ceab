"""Decoders that are injective, and the inference and recovery that they allow."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast.experiments import data, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import is_injective

TITLE = "An injective decoder of digits: codes can be read off, and found from few measurements"
CLAIMS = {
    "injective": Claim(
        "first layer [B; -B; M] of the trained decoder found injective", at_least=1.0
    ),
    "stretch": Claim(
        "smallest |G(z) - G(z')| / |z - z'| found over sigma_min(W_2) sigma_min(B) / sqrt(2)",
        at_least=1 - 1e-6,
    ),
    "codes": Claim("largest relative error of codes inferred from decoded digits", at_most=1e-6),
    "noise": Claim(
        "error of codes from noisy digits over sqrt(2) |e| / (sigma_min(W_2) sigma_min(B))",
        at_most=1 + 1e-6,
    ),
}
_CODE, _HIDDEN, _PIXELS = 8, 48, 64
_MEASUREMENTS, _SHOWN = (6, 8, 10, 12, 16, 24), 12


def run(lab: Lab) -> Outcome:
    """Train two decoders on digits; infer codes; recover from compressed measurements."""
    images = data.digits()
    order = lab.generator.permutation(len(images))
    train, test = images[order[:1500]], images[order[1500:1700]]
    axes = np.linalg.svd(train, full_matrices=False)[2][:_CODE]
    scale = np.linalg.norm(train @ axes.T) / np.sqrt(len(train) * _CODE)
    codes, fresh = train @ axes.T / scale, test @ axes.T / scale
    decoders = {}
    for name in ("injective", "ordinary"):
        decoders[name] = _train(lab, codes, train, injective=name == "injective")
    net = decoders["injective"]
    first, last = net.weights
    square = first[:_CODE]
    found = is_injective(first, node_limit=2000, seed=lab.seed)
    least = float(np.linalg.svd(last)[1][-1] * np.linalg.svd(square)[1][-1])
    stretch = min(_stretch(net, fresh, lab.generator), _stretch(net, -fresh, lab.generator))
    inferred = _infer(net, net(fresh))
    exact = np.linalg.norm(inferred - fresh, axis=1) / np.linalg.norm(fresh, axis=1)
    noise = 0.1 * lab.generator.standard_normal((len(fresh), _PIXELS))
    noisy = _infer(net, net(fresh) + noise)
    shares = np.linalg.norm(noisy - fresh, axis=1) * least
    shares /= np.sqrt(2) * np.linalg.norm(noise, axis=1)

    recovery: dict[str, list[float]] = {name: [] for name in decoders}
    real: dict[str, float] = {}
    answers: dict[str, np.ndarray] = {}
    square_root = lab.generator.standard_normal((_PIXELS, _PIXELS))
    starts = codes[lab.generator.integers(0, len(codes), 6)]
    few = fresh[:40]
    for name, decoder in decoders.items():
        size = np.linalg.norm(test, axis=1)
        real[name] = float(np.median(np.linalg.norm(decoder(fresh) - test, axis=1) / size))
        for m in _MEASUREMENTS:
            lab.note(f"recovery from {m} measurements, {name}")
            matrix = square_root[:m] / np.sqrt(m)
            wanted = decoder(few)
            answer = _recover(decoder, matrix, wanted @ matrix.T, starts)
            if m == _SHOWN:
                answers[name] = answer
            error = np.linalg.norm(decoder(answer) - wanted, axis=1)
            recovery[name].append(float(np.median(error / np.linalg.norm(wanted, axis=1))))
    measured = {
        "injective": float(found.decision is True),
        "stretch": stretch / (least / np.sqrt(2)),
        "codes": float(exact.max()),
        "noise": float(shares.max()),
    }
    shown = {
        "digit": test[:4],
        "decoded": net(fresh[:4]),
        "recovered": net(answers["injective"][:4]),
    }
    numbers = {
        "measurements": _MEASUREMENTS, "median_recovery_error": recovery,
        "median_error_on_test_digits": real, "stretch": stretch, "bound": least / np.sqrt(2),
        "ordinary_first_layer_injective": is_injective(
            decoders["ordinary"].weights[0], node_limit=500, seed=lab.seed
        ).decision,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        figure.set_size_inches(11.0, 3.6)
        left, middle, right = figure.subfigures(1, 3, width_ratios=(1.2, 1.2, 1))
        axis = left.subplots()
        for name, values in recovery.items():
            axis.plot(_MEASUREMENTS, np.maximum(values, 1e-16), "o-", label=name)
        axis.axvline(_CODE, color=style.INK, ls="--", lw=1.1, label="dimension of the codes")
        style.label(axis, "Recovery of decoded digits", "measurements of 64 pixels",
                    "median relative error", log="y")  # fmt: skip
        axis.set_xticks(_MEASUREMENTS)
        axis = middle.subplots()
        axis.hist(shares, bins=20, color=style.BLUE)
        axis.axvline(1, color=style.INK, ls="--", lw=1.1, label="proved bound")
        style.label(axis, "Codes from noisy digits", "error over bound", "digits")
        grid = right.subplots(3, 4)
        for row, (name, pictures) in zip(grid, shown.items(), strict=True):
            for place, picture in zip(row, pictures, strict=True):
                place.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
                place.set_xticks([])
                place.set_yticks([])
                place.grid(False)
            row[0].set_ylabel(name, fontsize=8)

    return Outcome(measured, numbers, draw)


def _train(
    lab: Lab, codes: np.ndarray, images: np.ndarray, *, injective: bool
) -> homfast.ReLUNetwork:
    """Adam on digits, then the last layer by ridge; the injective one gets B and -B before it.

    And its last layer, full column rank: singular values below a hundredth of the largest are
    raised to it, for units that never fire leave zero columns.
    """
    start = homfast.ReLUNetwork.random([_CODE, _HIDDEN, _PIXELS], seed=lab.seed)
    if injective:
        weights = [np.array(w) for w in start.weights]
        weights[0][_CODE : 2 * _CODE] = -weights[0][:_CODE]
        start.set_weights(weights)
    inputs, targets = codes.astype(np.float32), images.astype(np.float32)

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = generator.integers(0, len(inputs), 128)
        return inputs[chosen], targets[chosen]

    label = "injective decoder" if injective else "ordinary decoder"
    lab.train(start, batch, share=0.3, learning_rate=2e-3, label=label)
    first = start.weights[0].astype(np.float64)
    if injective:
        square = (first[:_CODE] - first[_CODE : 2 * _CODE]) / 2
        first[:_CODE], first[_CODE : 2 * _CODE] = square, -square
    features = homfast.linear_relu(codes, first)
    ridge = 1e-3 * len(codes) * np.eye(_HIDDEN)
    last = np.linalg.solve(features.T @ features + ridge, features.T @ images).T
    if injective:
        left, sizes, right = np.linalg.svd(last, full_matrices=False)
        last = left * np.maximum(sizes, 1e-2 * sizes[0]) @ right
    return homfast.ReLUNetwork([first, last])


def _infer(net: homfast.ReLUNetwork, images: np.ndarray) -> np.ndarray:
    """The code of each image: W_2^+ gives the hidden units, B and -B the code."""
    first, last = net.weights
    hidden = images @ np.linalg.pinv(last).T
    signed = hidden[:, :_CODE] - hidden[:, _CODE : 2 * _CODE]
    return np.linalg.solve(first[:_CODE], signed.T).T


def _stretch(net: homfast.ReLUNetwork, codes: np.ndarray, generator: np.random.Generator) -> float:
    """Least stretch over pairs of codes, near pairs, and least singular vectors in cells."""
    near = codes + 1e-3 * generator.standard_normal(codes.shape)
    other = codes[generator.permutation(len(codes))]
    jacobians = net.jacobian(codes)
    best = float(np.linalg.svd(jacobians, compute_uv=False)[:, -1].min())
    for z in (near, other, -codes):
        gap = np.linalg.norm(codes - z, axis=1)
        kept = gap > 0
        stretch = np.linalg.norm(net(codes) - net(z), axis=1)[kept] / gap[kept]
        best = min(best, float(stretch.min()))
    return best


def _recover(
    net: homfast.ReLUNetwork, matrix: np.ndarray, y: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Levenberg-Marquardt on ``|A G(z) - y|`` from each start, the best of them for each row."""
    best = np.zeros((len(y), _CODE))
    least = np.full(len(y), np.inf)
    for start in starts:
        z, damping = np.tile(start, (len(y), 1)), np.full(len(y), 1e-2)
        value = np.linalg.norm(net(z) @ matrix.T - y, axis=1)
        for _ in range(25):
            slopes = matrix @ net.jacobian(z)
            rest = y - net(z) @ matrix.T
            gram = slopes.swapaxes(1, 2) @ slopes
            size = np.trace(gram, axis1=1, axis2=2) * damping / _CODE + 1e-300
            step = np.linalg.solve(
                gram + size[:, None, None] * np.eye(_CODE),
                (slopes.swapaxes(1, 2) @ rest[:, :, None]),
            )[:, :, 0]
            tried = np.linalg.norm(net(z + step) @ matrix.T - y, axis=1)
            better = tried < value
            z = np.where(better[:, None], z + step, z)
            value = np.where(better, tried, value)
            damping = np.clip(np.where(better, damping / 4, damping * 4), 1e-12, 1e6)
        kept = value < least
        best[kept], least[kept] = z[kept], value[kept]
    return best
