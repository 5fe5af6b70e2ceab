"""Even piecewise linear functions q with prescribed values that are positive on given planes.

``q(y) = sum_k beta_k |<v_k, y>|``, beta of any sign, ``q(p_l) = 1`` at given points p_l, and on the
planes spanned by two of them ``q(x_k p_k + x_l p_l) > 0``, large beside given linear forms of x. On
such a plane q is linear between the rays where a ``<v_k, .>`` or a coefficient vanishes, so that
its sign, and its ratio to a linear form, are decided at these kink rays: the certificate is a
finite check, not a sample.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from homfast._scipy import scipy_module

WANTED = 20.0  # `sharpness_needed` at which the search for a better q stops
_LARGEST = 1000.0  # of sum |beta_k| max_l |<v_k, p_l>|: beyond it rounding eats the sharpness
_FLOOR = 0.05  # share of |x|_1 that q is to reach even where the forms vanish
_ROUNDS = 12  # linear programs before more directions are added
_START = 3  # directions to begin with, in multiples of the number of points
_ADDITIONS = 10  # times that directions are added: the budget


class Gauge(NamedTuple):
    """Rows v_k, coefficients beta_k, and what was certified at `rays` kink rays.

    kappa : smallest ``q / |x|_1``; sharpness_needed : largest ``|form| / q``.
    """

    directions: np.ndarray
    coefficients: np.ndarray
    kappa: float
    sharpness_needed: float
    rays: int


def fit_gauge(
    points: np.ndarray, forms: np.ndarray, generator: np.random.Generator
) -> Gauge | None:
    """The best gauge found for `points` (count, d) and `forms` (count, t), or None.

    Forms are ``x -> sum_l x_l forms[l, i]``. What is returned has kappa > 0, certified.
    """
    count, dimension = points.shape
    if count == 0:
        return Gauge(np.zeros((0, dimension)), np.zeros(0), np.inf, 0.0, 0)
    best = _through_points(points, forms)
    directions = _candidates(points, _START * count, generator)
    for _ in range(_ADDITIONS):
        if best is not None and best.sharpness_needed <= WANTED:
            break
        planes = _Planes(points, forms, directions)
        best = _better(best, planes.of_least_norm())
        if best is not None and best.sharpness_needed <= WANTED:
            break
        found, low = planes.by_cuts()
        best = _better(best, found)
        directions = np.vstack([directions, _through_rays(points, low, generator)])
    return best


def _better(first: Gauge | None, second: Gauge | None) -> Gauge | None:
    if first is None or second is None:
        return first or second
    return first if first.sharpness_needed <= second.sharpness_needed else second


def _through_points(points: np.ndarray, forms: np.ndarray) -> Gauge | None:
    """In the plane: kinks at the points alone; linear, so positive, between neighbours."""
    if len(points) == 1:
        directions = points / (points @ points.T)
    elif points.shape[1] == 2:
        directions = points[:, ::-1] * np.array([1.0, -1.0])
    else:
        return None
    planes = _Planes(points, forms, directions)
    return planes.of_least_norm()


def _candidates(points: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Directions, half of them normals of hyperplanes through points, of largest value 1 there."""
    count, dimension = points.shape
    half = size // 2
    free = generator.standard_normal((size - half, dimension))
    if count >= dimension:
        free = free @ np.linalg.pinv(np.linalg.cholesky(points.T @ points / count))
    taken = min(dimension - 1, count)
    chosen = generator.permuted(np.tile(np.arange(count), (half, 1)), axis=1)[:, :taken]
    normals = np.linalg.svd(points[chosen])[2][:, -1]
    directions = np.vstack([free, normals])
    return directions / np.abs(points @ directions.T).max(axis=0)[:, None]


def _through_rays(
    points: np.ndarray, rays: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Directions with a kink at each of `rays`: a negative coefficient lifts q there."""
    count, dimension = points.shape
    chosen = generator.permuted(np.tile(np.arange(count), (len(rays), 1)), axis=1)
    chosen = chosen[:, : dimension - 2]
    spanned = np.concatenate([rays[:, None, :], points[chosen]], axis=1)
    normals = np.linalg.svd(spanned)[2][:, -1]
    return normals / np.abs(points @ normals.T).max(axis=0)[:, None]


class _Planes:
    """The kink rays of candidates on all planes through two points, and q, |x|_1, forms there."""

    def __init__(self, points: np.ndarray, forms: np.ndarray, directions: np.ndarray):
        self.directions = directions
        self.at_points = np.abs(points @ directions.T)
        rays, self.pair = _kink_rays(points, directions)
        self.count = len(rays) + len(points)
        self.places = np.vstack([rays @ points, points])
        self.at_rays = np.vstack([np.abs(rays @ points @ directions.T), self.at_points])
        self.load = np.abs(np.vstack([rays @ forms, forms])).max(axis=1)
        self.pair = np.concatenate([self.pair, np.full(len(points), self.pair.max(initial=0) + 1)])

    def certified(self, beta: np.ndarray) -> Gauge | None:
        """The gauge of these coefficients with its exact constants; None unless positive."""
        used = beta != 0
        values = self.at_rays @ beta
        kappa = float(values.min())
        if not kappa > 1e-9:
            return None
        if np.abs(self.at_points @ beta - 1.0).max() > 1e-10:
            return None
        needed = float((self.load / values).max())
        return Gauge(self.directions[used], beta[used], kappa, needed, self.count)

    def of_least_norm(self) -> Gauge | None:
        """The smallest coefficients with q = 1 at the points: often enough."""
        start = np.full(len(self.directions), 1.0 / self.at_points.sum(axis=1).mean())
        step = np.linalg.lstsq(self.at_points, 1.0 - self.at_points @ start, rcond=None)[0]
        return self.certified(start + step)

    def by_cuts(self) -> tuple[Gauge | None, np.ndarray]:
        """The smallest ``sharpness_needed`` by linear programs, violated kink rays as cuts.

        Also the rays, as points, where q was lowest beside what was asked of it.
        """
        linprog = scipy_module("optimize", "two_sparse_decoder").linprog
        points, size = self.at_points.shape
        # Variables: beta+, beta- and 1 / sharpness_needed; a price on |beta| keeps it sparse.
        price = np.concatenate([np.full(2 * size, 1e-4 / size), [-1.0]])
        equal = np.hstack([self.at_points, -self.at_points, np.zeros((points, 1))])
        total = np.concatenate([np.ones(2 * size), [0.0]])[None]
        bounds = [(0.0, None)] * (2 * size) + [(None, 2.0 / WANTED)]
        weight = np.maximum(self.load, _FLOOR)
        starts = np.flatnonzero(np.diff(self.pair, prepend=-1))
        cuts = np.arange(0)
        best: Gauge | None = None
        low = self.places[starts[:0]]
        for _ in range(_ROUNDS):
            rows = self.at_rays[cuts]
            upper = np.vstack([np.hstack([-rows, rows, weight[cuts][:, None]]), total])
            limits = np.concatenate([np.zeros(len(cuts)), [_LARGEST]])
            answer = linprog(
                price, A_ub=upper, b_ub=limits, A_eq=equal, b_eq=np.ones(points), bounds=bounds
            )
            if answer.status != 0:
                break
            beta = self._polished(answer.x[:size] - answer.x[size:-1])
            best = _better(best, self.certified(beta))
            if answer.x[-1] <= 0.0 or (best is not None and best.sharpness_needed <= WANTED):
                break
            slack = (self.at_rays @ beta) / weight - answer.x[-1]
            worst = starts + [int(part.argmin()) for part in np.split(slack, starts[1:])]
            lowest = worst[np.argsort(slack[worst])]
            low = self.places[lowest[: len(lowest) // 2 + 1]]
            new = np.setdiff1d(worst[slack[worst] < -1e-9], cuts)
            if len(new) == 0:
                break
            cuts = np.concatenate([cuts, new])
        return best, low

    def _polished(self, beta: np.ndarray) -> np.ndarray:
        """Programs meet the equations to 1e-7 only, which the sharpness would multiply."""
        used = np.abs(beta) > 1e-11
        beta = np.where(used, beta, 0.0)
        missing = 1.0 - self.at_points @ beta
        beta[used] += np.linalg.lstsq(self.at_points[:, used], missing, rcond=None)[0]
        return beta


def _kink_rays(points: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient rows x, |x|_1 = 1, two of them not 0, with some ``<v, x p> = 0``; their pair."""
    count = len(points)
    pairs = np.array(list(itertools.combinations(range(count), 2)), np.intp).reshape(-1, 2)
    first, second = pairs.T
    images = points @ directions.T
    x, y = images[second], -images[first]  # (pairs, K)
    size = np.abs(x) + np.abs(y)
    pair, which = np.nonzero(size > 0)
    rays = np.zeros((len(pair), count))
    rays[np.arange(len(pair)), first[pair]] = x[pair, which] / size[pair, which]
    rays[np.arange(len(pair)), second[pair]] = y[pair, which] / size[pair, which]
    return rays, pair
