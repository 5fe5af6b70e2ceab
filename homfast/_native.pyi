"""The extension's signatures. Arrays are 2-D with a contiguous last axis, float32 or float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray

compiler: str

class PackedWeight:
    """A weight (out_features, in_features) in the order the kernels read it; keeps the array."""

    def refresh(self) -> None: ...

def pack_weight(weight: Array, precision: str = "highest") -> PackedWeight: ...

class PackedNetwork:
    """Packed layers; lists of masks and hidden outputs are empty or one entry a hidden layer."""

    def plain(self, x: Any, out: Any, /) -> Any: ...
    def forward(
        self, x: Array, masks: Sequence[Array], hidden: Sequence[Array], out: Array
    ) -> None: ...
    def forward_masked(self, v: Array, masks: Sequence[Array], out: Array) -> None: ...
    def adjoint(self, u: Array, masks: Sequence[Array], out: Array) -> None: ...
    def backward(
        self,
        x: Array,
        masks: Sequence[Array],
        hidden: Sequence[Array],
        grad_output: Array,
        grad_input: Array | None,
        grad_weights: Sequence[Array],
    ) -> None: ...

def pack_network(layers: Sequence[PackedWeight], negative_slope: float) -> PackedNetwork: ...

class NetworkTrace:
    """What a forward pass kept."""

    def pull_back(
        self, grad_output: Any, input_needed: bool
    ) -> tuple[Array | None, list[Array]] | None: ...

class NetworkTraining:
    """Passes over a network that keep something, and steps that change its weights."""

    def trace(self, x: Any) -> tuple[Array, NetworkTrace] | None: ...
    def jvp(self, x: Any, v: Any) -> tuple[Array, Array] | None: ...
    def fit_step(
        self,
        x: Array,
        target: Array,
        adam: Sequence[float],
        learning_rate: float,
        weight_decay: float,
        first_moments: Sequence[Array],
        second_moments: Sequence[Array],
    ) -> tuple[float, bool]: ...

def pack_training(network: PackedNetwork) -> NetworkTraining: ...

Weight = Array | PackedWeight

def plain_linear(
    x: Any, weight: Any, relu: bool, negative_slope: float, return_mask: bool, out: Any, /
) -> Any: ...
def plain_backward(
    grad_output: Any, x: Any, weight: Any, mask: Any, negative_slope: float, /
) -> Any: ...
def exchanged_forward(
    exchange: Any, x: Any, weights: list[Any], negative_slope: float, last_relu: bool, /
) -> Any: ...
def exchanged_keep(
    exchange: Any, x: Any, weights: list[Any], negative_slope: float, last_relu: bool, /
) -> tuple[Any, list[Any], list[Any]] | None: ...
def exchanged_backward(
    exchange: Any,
    grad_output: Any,
    x: Any,
    weights: list[Any],
    hidden: list[Any],
    masks: list[Any],
    negative_slope: float,
    input_needed: bool,
    weights_needed: bool,
    /,
) -> list[Any] | None: ...
def linear(x: Array, weight: Weight, out: Array, precision: str = "highest") -> None: ...
def linear_relu(
    x: Array,
    weight: Weight,
    negative_slope: float,
    out: Array,
    mask: Array | None,
    precision: str = "highest",
) -> None: ...
def linear_masked(
    x: Array,
    weight: Weight,
    mask: Array,
    negative_slope: float,
    out: Array,
    precision: str = "highest",
) -> None: ...
def grad_input(
    grad_output: Array,
    weight: Weight,
    mask: Array | None,
    negative_slope: float,
    out: Array,
    precision: str = "highest",
) -> None: ...
def grad_weight(
    grad_output: Array,
    x: Array,
    mask: Array | None,
    negative_slope: float,
    out: Array,
    precision: str = "highest",
) -> None: ...
def adam_update(
    weight: Array,
    grad: Array,
    first_moment: Array,
    second_moment: Array,
    coefficients: Sequence[float],
) -> None: ...
def sgd_update(weight: Array, grad: Array, learning_rate: float, weight_decay: float) -> None: ...
def linear_bfloat16(
    x: Array, weight: Array, relu: bool, negative_slope: float, out: Array, mask: Array | None
) -> bool: ...
def linear_backward_bfloat16(
    grad_output: Array,
    x: Array | None,
    weight: Array | None,
    mask: Array | None,
    negative_slope: float,
    grad_input: Array | None,
    grad_weight: Array | None,
) -> bool: ...
def widen_bfloat16(values: Array, out: Array) -> None: ...
def round_to_bfloat16(values: Array, out: Array) -> None: ...
def gaussian_block(seed: int, stream: int, row: int, column: int, out: Array) -> None: ...
def gaussian_product(
    seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
) -> bool: ...
def gaussian_gram(
    seed: int, stream: int, row: int, m: int, scale: float, x: Array, out: Array
) -> bool: ...
def rademacher_block(seed: int, stream: int, row: int, column: int, out: Array) -> None: ...
def rademacher_words(seed: int, stream: int, row: int, column: int, out: Array) -> None: ...
def rademacher_product(
    seed: int, stream: int, row: int, x: Array, adjoint: bool, out: Array
) -> bool: ...
def walsh_hadamard(x: Array, out: Array) -> None: ...
def subsampled_hadamard(
    x: Array, signs: Array, rows: Array, size: int, scale: float, adjoint: bool, out: Array
) -> None: ...

class PackedSparseSign:
    """An m x n matrix of entries +1 and -1, by rows and by columns."""

    def product(self, x: Array, adjoint: bool, out: Array, accumulate: bool = False) -> None: ...

def pack_sparse_sign(rows: Array, signs: Array, m: int) -> PackedSparseSign: ...
def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def threads_source() -> str: ...
def set_batch_invariant(enabled: bool) -> None: ...
def get_batch_invariant() -> bool: ...
def set_target(name: str | None) -> None: ...
def get_target() -> str: ...
def targets() -> dict[str, str]: ...
def measure_peak(dtype: str, seconds: float) -> float: ...
def xla_handlers() -> dict[str, Any]:
    """Passes of networks for XLA's foreign function interface, as capsules by name; none where
    jaxlib's headers were not there at build time."""
