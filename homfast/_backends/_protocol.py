"""What a backend module offers: a name, two questions, and the ops.

Every op takes 2-D arrays whose last axis is contiguous and writes its result into arrays the caller
allocated. Shapes, dtypes and overlap have been checked before an op is called. ``weight`` is what
``pack_weight`` returned, or a plain array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray
Mask = np.ndarray  # uint8 (rows, ceil(features / 8)), bit i of byte j is feature 8 j + i


class Network(Protocol):
    """A network's packed layers. `masks` and `hidden` are empty, or one entry a hidden layer."""

    def plain(self, x: Any) -> Any:
        """The network at a plain array, in a new one; None for what must be checked first."""

    def forward(self, x: Array, masks: list[Mask], hidden: list[Array], out: Array) -> None:
        """out = the network at the rows of x; writes masks and hidden activations."""

    def forward_masked(self, v: Array, masks: list[Mask], out: Array) -> None:
        """out = J v with the masks frozen."""

    def adjoint(self, u: Array, masks: list[Mask], out: Array) -> None:
        """out = J^T u with the masks frozen."""


class SparseSign(Protocol):
    """A sparse matrix A of entries +1 and -1."""

    def product(self, x: Array, adjoint: bool, out: Array) -> None:
        """out = x A^T, or x A, to the bit as `homfast._backends.sparse_sign`."""


class Backend(Protocol):
    """The protocol; modules satisfy it by having these names."""

    name: str

    def is_available(self) -> bool: ...

    def why_unavailable(self) -> str: ...

    def accepts(self, array: Any) -> bool: ...

    def pack_weight(self, weight: Array) -> Any:
        """A handle that stands for ``weight`` (out_features, in_features) in the ops."""

    def pack_network(self, layers: list[Any], negative_slope: float) -> Network:
        """The layers, as `pack_weight` returned them, for calls that run through all of them."""

    def linear(self, x: Array, weight: Any, out: Array) -> None:
        """out = x weight^T."""

    def linear_relu(
        self, x: Array, weight: Any, negative_slope: float, out: Array, mask: Mask | None
    ) -> None:
        """out = relu(x weight^T); mask, if given, receives one bit a unit."""

    def linear_masked(
        self, x: Array, weight: Any, mask: Mask, negative_slope: float, out: Array
    ) -> None:
        """out = x weight^T where the mask bit is set, negative_slope times it elsewhere."""

    def grad_input(
        self, grad_output: Array, weight: Any, mask: Mask | None, negative_slope: float, out: Array
    ) -> None:
        """out = (mask applied to grad_output) weight."""

    def grad_weight(
        self, grad_output: Array, x: Array, mask: Mask | None, negative_slope: float, out: Array
    ) -> None:
        """out = (mask applied to grad_output)^T x, summed over the rows in order."""

    def adam_update(
        self,
        weight: Array,
        grad: Array,
        first_moment: Array,
        second_moment: Array,
        coefficients: Sequence[float],
    ) -> None:
        """One Adam step in place; the coefficients are those of ``training.AdamCoefficients``."""

    def sgd_update(
        self, weight: Array, grad: Array, learning_rate: float, weight_decay: float
    ) -> None:
        """weight -= learning_rate (grad + weight_decay weight), in place."""

    def gaussian_block(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out = the entries at (row, column) and on, to the bit as `homfast._backends.normal`."""

    def gaussian_product(
        self, seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
    ) -> None:
        """out = x A^T, or x A: A has the entries of `gaussian_block` at (row, 0), never stored.

        On `native` to the bit as `linear` and `grad_input` with the packed stored matrix.
        """

    def rademacher_block(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out = the entries +1 and -1 at (row, column) and on: `homfast._backends.rademacher`."""

    def rademacher_words(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out (uint32) = their signs, 32 a word, bit set for -1; column counts words."""

    def rademacher_product(
        self, seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
    ) -> None:
        """As `gaussian_product`, with the entries of `rademacher_block`."""

    def walsh_hadamard(self, x: Array, out: Array) -> None:
        """out = the transform of each row of x, to the bit as `homfast._backends.hadamard`.

        The one op that also takes int32; x may be out.
        """

    def subsampled_hadamard(
        self,
        x: Array,
        signs: Array,
        rows: Array,
        size: int,
        scale: float,
        adjoint: bool,
        out: Array,
    ) -> None:
        """out = scale R H D x, or the adjoint, to the bit as `homfast._backends.hadamard`."""

    def pack_sparse_sign(self, rows: Array, signs: Array, m: int) -> SparseSign:
        """The matrix of the columns `rows`, `signs`: `homfast._backends.sparse_sign`."""
