"""What a backend module offers: a name, two questions, and the ops.

Every op takes 2-D arrays whose last axis is contiguous and writes its result into arrays the caller
allocated. Shapes, dtypes and overlap have been checked before an op is called. ``weight`` is what
``pack_weight`` returned, or a plain array. ``precision`` is a word of ``homfast.linear``; a packed
weight has that which it was packed for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray
Mask = np.ndarray  # uint8 (rows, ceil(features / 8)), bit i of byte j is feature 8 j + i


class Trace(Protocol):
    """What a forward pass kept: the layers' inputs, and one bit a hidden unit."""

    def pull_back(self, grad_output: Any, input_needed: bool) -> tuple[Any, list[Array]] | None:
        """Gradients of the input (None if not needed) and of all weights; None for what is not a
        plain array, or has not the leading axes of x."""


class Training(Protocol):
    """Passes over a network that keep something, and steps that change it."""

    def trace(self, x: Any) -> tuple[Array, Trace] | None:
        """The network at x, and what a backward pass needs; None for what must be checked first."""

    def jvp(self, x: Any, v: Any) -> tuple[Array, Array] | None:
        """The network at x and J v; None for what must be checked first."""

    def fit_step(
        self,
        x: Array,
        target: Array,
        adam: Sequence[float],
        learning_rate: float,
        weight_decay: float,
        first_moments: list[Array],
        second_moments: list[Array],
    ) -> tuple[float, bool]:
        """One step of Adam, or of gradient descent where `adam` is empty: the mean squared error
        before it, and whether weights and second moments are finite after it. Nothing is changed if
        the error is not finite."""


class Network(Protocol):
    """A network's packed layers. `masks` and `hidden` are empty, or one entry a hidden layer."""

    def plain(self, x: Any, out: Any) -> Any:
        """The network at a plain array, in `out` or, if that is None, in a new one; None for what
        must be checked first."""

    def forward(self, x: Array, masks: list[Mask], hidden: list[Array], out: Array) -> None:
        """out = the network at the rows of x; writes masks and hidden activations."""

    def forward_masked(self, v: Array, masks: list[Mask], out: Array) -> None:
        """out = J v with the masks frozen."""

    def adjoint(self, u: Array, masks: list[Mask], out: Array) -> None:
        """out = J^T u with the masks frozen."""

    def backward(
        self,
        x: Array,
        masks: list[Mask],
        hidden: list[Array],
        grad_output: Array,
        grad_input: Array | None,
        grad_weights: list[Array],
    ) -> None:
        """Gradients from what `forward` wrote at x; None and an empty list are not computed."""


class SparseSign(Protocol):
    """A sparse matrix A of entries +1 and -1."""

    def product(self, x: Array, adjoint: bool, out: Array, accumulate: bool = False) -> None:
        """out = x A^T, or x A, to the bit as `homfast._backends.sparse_product`.

        Sums start at +0, or where they accumulate at what `out` holds.
        """


class Backend(Protocol):
    """The protocol; modules satisfy it by having these names."""

    name: str
    fast_signs: bool  # a product makes signs faster than it reads them from memory

    def is_available(self) -> bool: ...

    def why_unavailable(self) -> str: ...

    def accepts(self, array: Any) -> bool: ...

    def pack_weight(self, weight: Array, precision: str = "highest") -> Any:
        """A handle that stands for ``weight`` (out_features, in_features) in the ops."""

    def pack_network(self, layers: list[Any], negative_slope: float) -> Network:
        """The layers, as `pack_weight` returned them, for calls that run through all of them."""

    def pack_training(self, network: Network) -> Training:
        """A packed network, for passes that keep something."""

    def linear(self, x: Array, weight: Any, out: Array, precision: str = "highest") -> None:
        """out = x weight^T."""

    def linear_relu(
        self,
        x: Array,
        weight: Any,
        negative_slope: float,
        out: Array,
        mask: Mask | None,
        precision: str = "highest",
    ) -> None:
        """out = relu(x weight^T); mask, if given, receives one bit a unit."""

    def linear_bfloat16(
        self,
        x: Array,
        weight: Array,
        relu: bool,
        negative_slope: float,
        out: Array,
        mask: Mask | None,
    ) -> bool:
        """`linear` or `linear_relu` of bfloat16 bits (uint16), summed in float32, rounded once.

        False, and nothing done, where these are better widened first by `widen_bfloat16`.
        """

    def linear_backward_bfloat16(
        self,
        grad_output: Array,
        x: Array | None,
        weight: Array | None,
        mask: Mask | None,
        negative_slope: float,
        grad_input: Array | None,
        grad_weight: Array | None,
    ) -> bool:
        """`grad_input` of weight and `grad_weight` of x, likewise; each unless it is None."""

    def linear_masked(
        self,
        x: Array,
        weight: Any,
        mask: Mask,
        negative_slope: float,
        out: Array,
        precision: str = "highest",
    ) -> None:
        """out = x weight^T where the mask bit is set, negative_slope times it elsewhere."""

    def grad_input(
        self,
        grad_output: Array,
        weight: Any,
        mask: Mask | None,
        negative_slope: float,
        out: Array,
        precision: str = "highest",
    ) -> None:
        """out = (mask applied to grad_output) weight."""

    def grad_weight(
        self,
        grad_output: Array,
        x: Array,
        mask: Mask | None,
        negative_slope: float,
        out: Array,
        precision: str = "highest",
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

    def widen_bfloat16(self, values: Array, out: Array) -> None:
        """out = the float32 numbers whose upper halves are the uint16 `values`."""

    def round_to_bfloat16(self, values: Array, out: Array) -> None:
        """out = the upper halves of the float32 `values`, rounded to nearest, ties to even."""

    def gaussian_block(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out = the entries at (row, column) and on, to the bit as `homfast._backends.normal`."""

    def row_permutation(self, seed: int, count: int, m: int) -> Array:
        """The first m of the permutation of range(count), as `homfast._backends.permutation`."""

    def sparse_sign_columns(
        self, seed: int, m: int, nonzeros_per_column: int, columns: range
    ) -> tuple[Array, Array]:
        """Rows and signs of those columns, to the bit as `homfast._backends.sparse_sign`."""

    def pack_sparse_sign(self, rows: Array, signs: Array, m: int) -> SparseSign:
        """The matrix of the columns `rows`, `signs`: `homfast._backends.sparse_product`."""

    def fourier(self, x: Array, out: Array) -> None:
        """out = the orthonormal DFT of complex rows."""

    def inverse_fourier(self, x: Array, out: Array) -> None:
        """out = the adjoint of `fourier`."""

    def cosine(self, x: Array, out: Array) -> None:
        """out = the orthonormal DCT-II of real rows."""

    def inverse_cosine(self, x: Array, out: Array) -> None:
        """out = the adjoint of `cosine`."""

    def convolve(self, x: Array, spectrum: Array, adjoint: bool, out: Array) -> None:
        """out = circular convolutions with the signal of that spectrum, or correlations."""

    def gaussian_product(
        self, seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
    ) -> bool:
        """out = x A^T, or x A: A has the entries of `gaussian_block` at (row, 0), never stored.

        On `native` to the bit as `linear` and `grad_input` with the packed stored matrix; False,
        and nothing done, on a target that cannot.
        """

    def gaussian_gram(
        self, seed: int, stream: int, row: int, m: int, scale: float, x: Array, out: Array
    ) -> bool:
        """out = (scale x A^T) A, A the m rows from `row` on: two of `gaussian_product`, to the bit.

        Each entry is made once. False, and nothing done, where that is no faster.
        """

    def rademacher_block(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out = the entries +1 and -1 at (row, column) and on: `homfast._backends.rademacher`."""

    def rademacher_words(self, seed: int, stream: int, row: int, column: int, out: Array) -> None:
        """out (uint32) = their signs, 32 a word, bit set for -1; column counts words."""

    def rademacher_product(
        self, seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
    ) -> bool:
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
