"""The C++ kernels of the extension ``homfast._native`` behind the backend protocol."""

from __future__ import annotations

import numpy as np

# Not compiled: NumPy computes these here too, with the same bits.
from homfast._backends.reference import (  # noqa: F401
    convolve,
    cosine,
    fourier,
    inverse_cosine,
    inverse_fourier,
    row_permutation,
    sparse_sign_columns,
)

name = "native"
fast_signs = True

try:
    import homfast._native as _native
except ModuleNotFoundError as error:  # built with HOMFAST_NATIVE=0, or not built
    _native = None  # type: ignore[assignment]
    _reason = (
        f"the extension homfast._native is not installed ({error}): homfast was installed with "
        "HOMFAST_NATIVE=0; install it again without"
    )
except ImportError as error:  # as of a processor that is too old
    _native = None  # type: ignore[assignment]
    _reason = f"the extension homfast._native cannot be loaded: {error}"
else:
    _reason = ""
    from homfast.interop import threads

    threads.register()
    pack_weight = _native.pack_weight
    pack_network = _native.pack_network
    pack_training = _native.pack_training
    plain_linear = _native.plain_linear
    plain_backward = _native.plain_backward
    exchanged_forward = _native.exchanged_forward
    exchanged_keep = _native.exchanged_keep
    exchanged_backward = _native.exchanged_backward
    linear = _native.linear
    linear_relu = _native.linear_relu
    linear_bfloat16 = _native.linear_bfloat16
    linear_backward_bfloat16 = _native.linear_backward_bfloat16
    linear_masked = _native.linear_masked
    grad_input = _native.grad_input
    grad_weight = _native.grad_weight
    adam_update = _native.adam_update
    sgd_update = _native.sgd_update
    widen_bfloat16 = _native.widen_bfloat16
    round_to_bfloat16 = _native.round_to_bfloat16
    gaussian_block = _native.gaussian_block
    gaussian_gram = _native.gaussian_gram
    gaussian_product = _native.gaussian_product
    rademacher_block = _native.rademacher_block
    rademacher_words = _native.rademacher_words
    rademacher_product = _native.rademacher_product
    walsh_hadamard = _native.walsh_hadamard
    subsampled_hadamard = _native.subsampled_hadamard
    pack_sparse_sign = _native.pack_sparse_sign


def is_available():
    return _native is not None


def why_unavailable():
    return _reason


def accepts(array):
    return isinstance(array, np.ndarray)
