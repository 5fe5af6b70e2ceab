"""Any network becomes injective at m = 2n + 1 by a little noise in its weights, none at m = n."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import homfast
from homfast._scipy import scipy_module
from homfast.experiments import style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import injective_network, make_injective

TITLE = "Injective approximation: 2n + 1 outputs suffice, n do not"
CLAIMS = {
    "error": Claim("|N(x) - F(x)| over epsilon |G| |x|, largest", at_most=1 + 1e-9),
    "apart": Claim("distance of cones that N maps, over epsilon, least", at_least=1e-7),
    "collides": Claim("the same distance for F, which folds", at_most=1e-9),
    "doubling": Claim(
        "distance of cones mapped by networks that project to 2n + 1 between layers, least",
        at_least=1e-9,
    ),
    "same_dimension": Claim(
        "error to sin of the monotone function nearest to a trained network R -> R",
        at_least=0.5 - 1e-3,
    ),
}
_EPSILONS = 10.0 ** np.arange(-4.0, 0.1, 0.5)
_N, _M = 2, 5


def run(lab: Lab) -> Outcome:
    """A folding network in the plane; sin as a network of (u, 1); projections between layers."""
    folding = _folding(lab.generator)
    x = lab.generator.standard_normal((2000, _N))
    plain = folding(x)
    shares, apart, errors = [], [], []
    for epsilon in _EPSILONS:
        lab.note(f"epsilon = {epsilon:.1e}")
        net = make_injective(folding, float(epsilon), seed=lab.seed)
        off = np.linalg.norm(net(x) - plain, axis=1)
        size = np.linalg.norm(_added(net, folding), 2)
        shares.append(float((off / (size * np.linalg.norm(x, axis=1))).max()))
        apart.append(separation(net) / epsilon)
        errors.append(float((off / np.linalg.norm(x, axis=1)).max()))
    doubling, widths = [], []
    for layers in (1, 2, 3):
        net = injective_network(_N, layers, seed=lab.seed)
        doubling.append(separation(net))
        widths.append(net.widths)
    sine, monotone, trained, line = _sine(lab)
    measured = {
        "error": max(shares),
        "apart": min(apart),
        "collides": separation(folding),
        "doubling": min(doubling),
        "same_dimension": monotone,
    }
    numbers = {
        "epsilons": _EPSILONS, "errors": errors, "separation_over_epsilon": apart,
        "widths": widths, "doubling": doubling, "sine": sine, "monotone": monotone,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third = style.panels(figure, 3)
        first.plot(_EPSILONS, errors, "o-", label="largest |N - F| / |x|")
        first.plot(_EPSILONS, np.array(apart) * _EPSILONS, "s-", label="distance of cones")
        style.label(first, "Plane to R^5, F folds", "epsilon", "error, distance", log="xy")
        grid, wanted, nearest = line
        second.plot(grid, wanted, color=style.GRAY, lw=4, label="sin")
        second.plot(grid, trained, color=style.BLUE, label="trained, not injective")
        second.plot(grid, nearest, color=style.ORANGE, label="nearest monotone")
        second.set_ylim(-1.6, 2.6)
        style.label(second, "R to R: injective is monotone", "u", "value")
        third.plot(_EPSILONS, sine, "o-", color=style.GREEN, label="to R^5, injective")
        style.bound_line(third, 0.5, "to R, injective: at least 1/2")
        style.label(third, "Error to sin on [-pi, pi]", "epsilon", "largest error", log="xy")

    return Outcome(measured, numbers, draw)


def _folding(generator: np.random.Generator) -> homfast.ReLUNetwork:
    """From the plane to R^5: even, so that x and -x collide."""
    half = generator.standard_normal((6, _N))
    last = generator.standard_normal((_M, 6))
    return homfast.ReLUNetwork([np.vstack([half, -half]), np.hstack([last, last])])


def _added(net: homfast.ReLUNetwork, folding: homfast.ReLUNetwork) -> np.ndarray:
    """epsilon G, from the values at the axes: N - F is linear."""
    unit = np.eye(_N)
    return (net(unit) - folding(unit)).T


def separation(net: homfast.ReLUNetwork) -> float:
    """How far from colliding a bias-free network of the plane is; 0 if it is not injective.

    The network is linear between its kink rays. Two sectors collide where nonnegative combinations
    of the images of their borders agree: the least distance over combinations of sum one, each
    sector against each, by nonnegative least squares. Derived here.
    """
    rays = _kink_rays(net)
    images = net(rays).T
    images = images / np.linalg.norm(images, axis=0).max()
    count = len(rays)
    least = np.inf
    for i in range(count):
        before, border, after = (images[:, (i + k) % count] for k in range(3))
        # Neighbours: of the common border any multiple, for it may be on both sides.
        columns = np.column_stack([before, -after, border, -border])
        least = min(least, _least_combination(columns, np.array([1.0, 1.0, 0.0, 0.0])))
        for j in range(i + 2, count):
            if (j + 1) % count == i:
                continue
            columns = np.hstack([images[:, [i, (i + 1) % count]], -images[:, [j, (j + 1) % count]]])
            least = min(least, _least_combination(columns, np.ones(4)))
    return least


def _least_combination(columns: np.ndarray, counted: np.ndarray) -> float:
    """The least ``|columns c|`` over c >= 0 with ``<counted, c> = 1``, a heavy equation."""
    nnls = scipy_module("optimize", "injective-networks").nnls
    heavy = np.vstack([columns, 1e3 * counted])
    found, _ = nnls(heavy, np.append(np.zeros(len(columns)), 1e3))
    return float(np.linalg.norm(columns @ found)) / max(float(counted @ found), 1e-9)


def _kink_rays(net: homfast.ReLUNetwork) -> np.ndarray:
    """Unit rays in order, linear between: where a unit of some layer is zero."""
    angles = np.arange(0.0, 2 * np.pi, np.pi / 2)
    for depth in range(1, len(net.weights)):
        inner = homfast.ReLUNetwork(net.weights[:depth])
        angles = np.unique(np.round(np.mod(angles, 2 * np.pi), 13))
        ends = np.append(angles, angles[0] + 2 * np.pi)
        more = [angles]
        for low, high in itertools.pairwise(ends):
            if high - low < 1e-10:
                continue
            border = np.array([[np.cos(low), np.sin(low)], [np.cos(high), np.sin(high)]])
            # Within the sector each unit is linear: a of one border, b of the other.
            a, b = inner(border)
            crossing = a * b < 0
            mixed = (
                np.abs(b[crossing])[:, None] * border[0] + np.abs(a[crossing])[:, None] * border[1]
            )
            more.append(np.arctan2(mixed[:, 1], mixed[:, 0]))
        angles = np.concatenate(more)
    angles = np.sort(np.mod(angles, 2 * np.pi))
    kept = np.diff(angles, append=angles[0] + 2 * np.pi) > 1e-9
    angles = angles[kept]
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _sine(lab: Lab) -> tuple[list[float], float, np.ndarray, tuple[np.ndarray, ...]]:
    """Errors at 2n + 1 outputs, and at one output with and without monotonicity."""
    grid = np.linspace(-np.pi, np.pi, 2001)
    points = np.column_stack([grid, np.ones(len(grid))])
    net = homfast.ReLUNetwork.random([2, 64, 64, 1], seed=lab.seed)
    inputs, wanted = points.astype(np.float32), np.sin(grid)

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = generator.integers(0, len(grid), 256)
        return inputs[chosen], wanted[chosen, None].astype(np.float32)

    lab.train(net, batch, share=0.7, label="sin")
    trained = net(inputs)[:, 0].astype(np.float64)
    # The nearest nondecreasing and nonincreasing functions in the largest error.
    nearest = []
    for sign in (1.0, -1.0):
        values = sign * trained
        upper = np.maximum.accumulate(values)
        lower = np.minimum.accumulate(values[::-1])[::-1]
        nearest.append(sign * (upper + lower) / 2)
    gaps = [float(np.abs(each - wanted).max()) for each in nearest]
    # Five outputs: sin, and nothing else; then a little of (u, 1).
    weights = [w.astype(np.float64) for w in net.weights]
    weights[-1] = np.vstack([weights[-1], np.zeros((_M - 1, weights[-1].shape[1]))])
    wide = homfast.ReLUNetwork(weights)
    target = np.column_stack([wanted, np.zeros((len(grid), _M - 1))])
    errors = [
        float(
            np.linalg.norm(
                make_injective(wide, float(e), seed=lab.seed)(points) - target, axis=1
            ).max()
        )
        for e in _EPSILONS
    ]
    best = nearest[int(np.argmin(gaps))]
    return errors, min(gaps), trained, (grid, wanted, best)
