"""Two hidden layers approximate every continuous positively homogeneous function, and more."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "Homogenised networks approximate, and reach beyond degree one"
CLAIMS = {
    "interpolant": Claim(
        "error of the interpolant in the plane over its certificate, largest", at_most=1.0
    ),
    "slope": Claim("slope of that error in the width, log-log, smooth function", at_most=-1.8),
    "odd_part": Claim(
        "odd part of one hidden layer that is not linear, share of its norm", at_most=1e-12
    ),
    "constant": Claim(
        "error with an appended constant coordinate over h^2 max|g''| / 8, at scale one",
        at_most=1 + 1e-6,
    ),
    "degree_two": Claim("|F(2^k y) - 4^k F(y)|, largest, gauge times network", at_most=0.0),
}
_RAYS = (8, 16, 32, 64, 128, 256)
_WIDTHS = (16, 64, 256)
_KNOTS = (4, 8, 16, 32, 64)


def run(lab: Lab) -> Outcome:
    """Error against width, and against scale where the target has another degree than one."""
    angles = np.linspace(0, 2 * np.pi, 20_011)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    interpolants = [construct.two_layer_interpolant(_smooth, rays) for rays in _RAYS]
    exact = _smooth(circle)
    plane = [float(np.abs(net(circle)[:, 0] - exact).max()) for net in interpolants]
    # |F| has the Lipschitz constant sqrt(f^2 + f'^2) on the circle.
    lipschitz = float(np.hypot(exact, np.gradient(exact, angles)).max())
    certified = [lipschitz * net.certificate.factor for net in interpolants]

    higher = _higher(lab)
    shallow = homfast.ReLUNetwork.random([3, 500, 4], seed=lab.seed, dtype=np.float64)
    y = lab.generator.standard_normal((500, 3))
    odd = shallow(y) - shallow(-y)
    left = odd - y @ np.linalg.lstsq(y, odd, rcond=None)[0]

    grid = np.linspace(-1, 1, 4001)
    at_one, steps, by_scale = [], [], {}
    for knots in _KNOTS:
        net = _with_constant(knots)
        at_one.append(float(np.abs(_at(net, grid, 1.0) - np.sin(3 * grid)).max()))
        steps.append(2.0 / knots)
    scales = 2.0 ** np.arange(-6, 7)
    net = _with_constant(_KNOTS[-1])
    wanted = [np.sin(3 * scale * grid) for scale in scales]
    by_scale["constant coordinate, sin(3u)"] = [
        float(np.abs(net(np.column_stack([s * grid, np.ones(len(grid))]))[:, 0] - w).max())
        for s, w in zip(scales, wanted, strict=True)
    ]
    direct, through, bits = _degree_two(scales, circle)
    by_scale["y^2 by the network alone"] = direct
    by_scale["y^2 by gauge times network"] = through
    measured = {
        "interpolant": float(np.max(np.array(plane) / np.array(certified))),
        "slope": signals.slope(_RAYS[1:], plane[1:]),
        "odd_part": float(np.linalg.norm(left) / np.linalg.norm(odd)),
        "constant": float(np.max(np.array(at_one) / (9 * np.array(steps) ** 2 / 8))),
        "degree_two": bits,
    }
    numbers = {
        "rays": _RAYS, "plane": plane, "certified": certified, "widths": _WIDTHS,
        "random_features": higher, "knots": _KNOTS, "constant": at_one, "scales": scales,
        "by_scale": by_scale,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third = style.panels(figure, 3)
        first.plot(_RAYS, plane, "o-", label="interpolant, measured")
        first.plot(_RAYS, certified, "--", color=style.INK, label="certificate, Lipschitz f")
        style.label(first, "In the plane: order h^2", "rays J", "worst error, |y| = 1", log="y")
        style.counts(first, _RAYS)
        for m, values in higher.items():
            second.plot(_WIDTHS, values, "o-", label=f"m = {m}")
        style.label(second, "Random features, f = max - min", "features", "rms error, |y| = 1")
        second.set_ylim(0)
        style.counts(second, _WIDTHS)
        for name, values in by_scale.items():
            third.plot(scales, np.maximum(values, 1e-6), "o-", label=name)
        style.label(
            third, "Beyond degree one", "scale of the input", "error, relative for y^2", log="xy"
        )
        third.set_ylim(1e-6, 1e7)

    return Outcome(measured, numbers, draw)


def _smooth(y: np.ndarray) -> np.ndarray:
    """Positively homogeneous: |y| times a smooth function of the angle."""
    angle = np.arctan2(y[:, 1], y[:, 0])
    return np.linalg.norm(y, axis=1) * (np.sin(2 * angle) + 0.5 * np.cos(3 * angle))


def _higher(lab: Lab) -> dict[int, list[float]]:
    """max - min of m coordinates, by random features."""
    result: dict[int, list[float]] = {}
    for m in (3, 5, 8):
        result[m] = []
        tested = lab.generator.standard_normal((4000, m))
        tested /= np.linalg.norm(tested, axis=1, keepdims=True)
        for width in _WIDTHS:
            lab.note(f"m = {m}, {width} random features")
            points = lab.generator.standard_normal((4 * width + 200, m))
            net = construct.random_feature_approximator(
                points, np.ptp(points, axis=1)[:, None], width, seed=lab.seed
            )
            error = net(tested)[:, 0] - np.ptp(tested, axis=1)
            result[m].append(float(np.sqrt(np.mean(error**2))))
    return result


def _with_constant(knots: int) -> homfast.ReLUNetwork:
    """The piecewise linear interpolant of sin(3u) on [-1, 1] as a bias-free network of (u, 1)."""
    places = np.linspace(-1, 1, knots + 1)
    slopes = np.diff(np.sin(3 * places)) / np.diff(places)
    kinks = np.concatenate([[slopes[0]], np.diff(slopes)])
    first = np.column_stack([np.ones(knots), -places[:-1]])  # relu(u - place)
    first = np.vstack([first, [0.0, 1.0]])  # the constant itself
    return homfast.ReLUNetwork([first, np.append(kinks, np.sin(-3.0))[None]])


def _at(net: homfast.ReLUNetwork, u: np.ndarray, constant: float) -> np.ndarray:
    return net(np.column_stack([u, np.full(len(u), constant)]))[:, 0]


def _degree_two(scales: np.ndarray, circle: np.ndarray) -> tuple[list[float], list[float], float]:
    """Relative errors of y1^2 - y1 y2 by the network alone and times the gauge; and the bits."""

    def target(y: np.ndarray) -> np.ndarray:
        return y[:, 0] ** 2 - y[:, 0] * y[:, 1]

    def gauge(y: np.ndarray) -> np.ndarray:
        return np.abs(y).sum(axis=1)

    net = construct.two_layer_interpolant(lambda y: target(y) / gauge(y), 64)
    alone = construct.two_layer_interpolant(target, 64)  # right on the circle only
    direct, through, bits = [], [], 0.0
    at_one = gauge(circle) * net(circle)[:, 0]
    for scale in scales:
        y = scale * circle
        direct.append(float(np.abs(alone(y)[:, 0] - target(y)).max()) / scale**2)
        found = gauge(y) * net(y)[:, 0]
        through.append(float(np.abs(found - target(y)).max()) / scale**2)
        bits = max(bits, float(np.abs(found / scale**2 - at_one).max()))
    return direct, through, bits
