"""Exact search for a point whose active rows do not span, fixed-parameter in the dimension.

``relu(W x + b)`` is not injective if and only if some x has active rows, ``<w_j, x> + b_j >= 0``,
within a proper flat: the rows of W in a subspace. The search walks flats. At a flat it asks for
an x at which every row outside is inactive: if there is one, the map is not injective. If not, at
most n + 2 rows outside exclude it, one of which is active at every x, so that it branches on these
only, at most (n + 2)^(n - 1) flats whatever the number of rows. Such sets are kept: a branch is a
set with the fewest rows left, where the rows of earlier branches count as inactive (as in hitting
sets).

Tried and left: enumerating sign vectors, one linear program each (2 C(39, 7) cells at n = 8,
m = 40), sweeping the last two dimensions of all vertices (3.8 million planes there), and visiting
each flat once instead of ruling rows out (180,000 nodes, 90 s, where this takes 16,000 and 10 s).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from homfast.injectivity.rows import Pairs
from homfast.injectivity.separation import (
    EXACT,
    Separation,
    bias_scales,
    separate,
    separate_affine,
)

_EPS = np.finfo(np.float64).eps
_CLEARLY = 1e-6  # the distance of a row to a flat that rounding does not touch


class Search(NamedTuple):
    """Whether all was visited, a point with inactive rows outside a flat, what it took."""

    complete: bool
    point: np.ndarray | None
    margin: float
    nodes: int


class _Flat(NamedTuple):
    basis: np.ndarray  # (rank, n), orthonormal
    inverse: np.ndarray  # (rank, rank): basis = inverse @ the rows that span the flat
    apart: np.ndarray  # (rows, n): what the basis leaves of the unit rows
    inside: np.ndarray  # (rows,) bool


class FlatSearch:
    """The walk over flats for unit rows `units` and the biases `shifts` that belong to them."""

    def __init__(self, units: np.ndarray, shifts: np.ndarray, tolerance: float, start: Pairs):
        self._units, self._shifts, self._tolerance = units, shifts, tolerance
        self._scales = bias_scales(shifts)
        self._blocks = _Blocks(len(units))
        self.margin = np.inf
        self._taken = np.inf  # the largest distance that was taken as zero, if one was
        flat = self._first(start.rows)
        spanning = len(flat.basis)
        if spanning:
            self._take(float(start.slips[:spanning].max()))
        for j, slip in zip(start.rows[spanning:], start.slips[spanning:], strict=True):
            if not flat.inside[j]:
                flat = self._children(flat, np.array([j]))[0]
                self._take(float(slip))
        self._start = flat

    def _first(self, rows: np.ndarray) -> _Flat:
        """The flat of the rows that come before one that is nearly dependent on those before it.

        As `_children` gives it row by row, at the cost of one factorization.
        """
        units, n = self._units, self._units.shape[1]
        rows = rows[:n]
        basis, upper = np.linalg.qr(units[rows].T)
        apart_by = np.abs(np.diag(upper))
        near = np.flatnonzero(apart_by <= max(_CLEARLY, 2 * self._tolerance))
        count = int(near[0]) if len(near) else len(rows)
        inverse = np.linalg.inv(upper[:count, :count].T)
        error = 8 * n * _EPS * float(np.linalg.norm(inverse))
        if count == 0 or error > apart_by[:count].min() / 2:
            nothing = np.zeros((0, n))
            return _Flat(nothing, np.zeros((0, 0)), units, np.zeros(len(units), bool))
        basis = basis[:, :count].T
        along = units @ basis.T
        apart = units - along @ basis
        left = np.einsum("ij,ij->i", apart, apart)
        squares = np.cumsum(np.column_stack([left, along[:, :0:-1] ** 2]), axis=1)
        distance = np.sqrt(squares)  # to the flats of all rows, of all but one, and so on
        outside = distance > max(self._tolerance, error)
        self.margin = float(distance[outside].min(initial=np.inf))
        return _Flat(basis, inverse, apart, ~outside[:, 0])

    def _take(self, distance: float) -> None:
        self._taken = distance if np.isinf(self._taken) else max(self._taken, distance)

    @property
    def margin_of_yes(self) -> float:
        """The margin, but what a yes takes as zero if it rests on that."""
        return min(self.margin, self._taken)

    @property
    def spans_at_once(self) -> bool:
        """Whether the rows to start with span the space."""
        return len(self._start.basis) == self._units.shape[1]

    def _separate(self, rows: np.ndarray) -> Separation:
        """A point at which none of some rows is active, or why there is none."""
        if not self._shifts.any():
            return separate(self._units[rows], self._tolerance)
        units, shifts = self._units[rows], self._shifts[rows]
        return separate_affine(units, shifts, self._scales, self._tolerance)

    def run(self, node_limit: int) -> Search:
        """Visit flats until a point is found, none is left, or the limit is reached."""
        if self.spans_at_once:
            return Search(True, None, self.margin_of_yes, 0)
        hyperplane = self._units.shape[1] - 1
        nobody = np.zeros(len(self._units), bool)
        stack, nodes = [(self._start, nobody)], 0
        while stack:
            if nodes >= node_limit:
                return Search(False, None, self.margin, nodes)
            flat, inactive = stack.pop()
            nodes += 1
            branch = self._blocks.fewest(flat.inside, inactive)
            if branch is None:
                outside = np.flatnonzero(~flat.inside)
                found = self._separate(outside)
                if found.x is not None:
                    self.margin = min(self.margin, found.margin)
                    return Search(False, found.x, self.margin, nodes)
                if not found.proved:
                    return Search(False, None, self.margin, nodes)
                if found.margin > EXACT:
                    self._take(found.margin)
                blocking = outside[found.blocking]
                self._blocks.add(blocking)
                branch = blocking[~inactive[blocking]]
            if len(flat.basis) == hyperplane or len(branch) == 0:
                continue  # one row more spans, or no row is left to be active
            children = self._children(flat, branch)
            if len(flat.basis) == hyperplane - 1:
                met = self._blocks.all_met(np.stack([child.inside for child in children]))
            else:
                met = np.ones(len(children), bool)
            for i in np.flatnonzero(met):
                # Where an earlier row of the branch is active an earlier child looks.
                before = inactive.copy()
                before[branch[:i]] = True
                stack.append((children[i], before))
        return Search(True, None, self.margin_of_yes, nodes)

    def _children(self, flat: _Flat, rows: np.ndarray) -> list[_Flat]:
        """The flats spanned by a flat and each of `rows`: all rows within tolerance of it.

        So are rows that rounding cannot tell from it: its error is that of the rows over the least
        singular value of those that span it. Rows outside raise the rank for certain, which is all
        that a yes asks of them.
        """
        sizes = np.linalg.norm(flat.apart[rows], axis=1, keepdims=True)
        new = flat.apart[rows] / sizes
        new = new - (new @ flat.basis.T) @ flat.basis
        new = new / np.linalg.norm(new, axis=1, keepdims=True)
        along = flat.apart @ new.T  # (rows of W, children)
        apart = flat.apart[None] - along.T[:, :, None] * new[:, None, :]
        distance = np.sqrt(np.einsum("cij,cij->ci", apart, apart))
        last = -(self._units[rows] @ flat.basis.T) @ flat.inverse / sizes
        grown = np.sqrt((flat.inverse**2).sum() + (last**2).sum(axis=1) + sizes[:, 0] ** -2)
        error = 8 * self._units.shape[1] * _EPS * grown
        inside = distance <= np.maximum(self._tolerance, error)[:, None]
        outside = distance[~inside]
        if outside.size:
            self.margin = min(self.margin, float(outside.min()))
        rank = len(flat.basis)
        children = []
        for c in range(len(rows)):
            inverse = np.zeros((rank + 1, rank + 1))
            inverse[:rank, :rank] = flat.inverse
            inverse[rank] = [*last[c], 1.0 / sizes[c, 0]]
            basis = np.vstack([flat.basis, new[c]])
            children.append(_Flat(basis, inverse, apart[c], inside[c]))
        return children


class _Blocks:
    """Sets of rows of which one is active at every x, met so far, as words of bits."""

    def __init__(self, rows: int):
        self._rows, self._count = rows, 0
        self._words = np.zeros((64, (rows + 63) // 64), np.uint64)

    def _packed(self, members: np.ndarray) -> np.ndarray:
        bits = np.zeros((*members.shape[:-1], self._words.shape[1] * 64), bool)
        bits[..., : self._rows] = members
        return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)

    def add(self, rows: np.ndarray) -> None:
        """Remember a set, indices of rows."""
        members = np.zeros(self._rows, bool)
        members[rows] = True
        if self._count == len(self._words):
            self._words = np.vstack([self._words, np.zeros_like(self._words)])
        self._words[self._count] = self._packed(members)
        self._count += 1

    def fewest(self, inside: np.ndarray, inactive: np.ndarray) -> np.ndarray | None:
        """Of the sets outside a flat the one with the fewest rows not known inactive: these."""
        words = self._words[: self._count]
        unmet = words[~(words & self._packed(inside)).any(axis=1)] & ~self._packed(inactive)
        if len(unmet) == 0:
            return None
        smallest = int(np.bitwise_count(unmet).sum(axis=1).argmin())
        bits = np.unpackbits(unmet[smallest].view(np.uint8), bitorder="little")
        return np.flatnonzero(bits)

    def all_met(self, inside: np.ndarray) -> np.ndarray:
        """For each of several flats, whether no set lies outside it."""
        words = self._words[: self._count]
        return (words[None] & self._packed(inside)[:, None]).any(axis=2).all(axis=1)
