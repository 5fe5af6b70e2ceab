"""The CUDA kernels of operators and updates, run on the host: the bits of the references."""

import numpy as np
import oracles
import pytest
from engines import NATIVE_ENGINES

from homfast._backends import cuda, hadamard, native, normal, rademacher, reference, streams
from homfast.training import AdamCoefficients

pytest_plugins = ("cuda_device",)

SEED = 0x123456789ABCDEF0
STREAM = streams.stream_word(streams.GAUSSIAN, 4)
FUSED = [e for e in NATIVE_ENGINES if e.target in ("avx2", "avx512", "neon")]
BLOCKS = [(0, 0, 3, 9), (5, 3, 2, 1), (2**32 - 2, 130, 4, 70), (2**40, 2**20 + 1, 1, 257)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_gaussian_block(emulation, dtype, block):
    row, column, rows, columns = block
    wanted, out = np.empty((rows, columns), dtype), emulation.empty((rows, columns), dtype)
    normal.fill(SEED, STREAM, row, column, wanted)
    cuda.gaussian_block(SEED, STREAM, row, column, out)
    oracles.assert_same_bits(out.host, wanted, str(block))


def test_gaussian_entries_of_every_kind(emulation, dtype):
    """Enough of them that each branch of the transform is taken."""
    wanted, out = np.empty((64, 1000), dtype), emulation.empty((64, 1000), dtype)
    normal.fill(1, STREAM, 0, 0, wanted)
    cuda.gaussian_block(1, STREAM, 0, 0, out)
    oracles.assert_same_bits(out.host, wanted, "64000 entries")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_rademacher_block_and_words(emulation, dtype, block):
    row, column, rows, columns = block
    wanted, out = np.empty((rows, columns), dtype), emulation.empty((rows, columns), dtype)
    rademacher.fill(SEED, STREAM, row, column, wanted)
    cuda.rademacher_block(SEED, STREAM, row, column, out)
    oracles.assert_same_bits(out.host, wanted, str(block))
    words, found = np.empty((rows, columns), np.uint32), emulation.empty((rows, columns), np.uint32)
    rademacher.words(SEED, STREAM, row, column, words)
    cuda.rademacher_words(SEED, STREAM, row, column, found)
    oracles.assert_same_bits(found.host, words, str(block))


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
@pytest.mark.parametrize(
    "size", [(1, 1, 1), (3, 0, 4), (5, 37, 70), (40, 300, 33), (130, 40, 280)], ids=str
)
def test_seeded_products_have_the_bits_of_the_processor(emulation, rng, dtype, kind, adjoint, size):
    batch, k, n = size
    x = rng.standard_normal((batch, k)).astype(dtype)
    matrix = np.empty((k, n) if adjoint else (n, k), dtype)
    fill = normal.fill if kind == "gaussian" else rademacher.fill
    fill(SEED, STREAM, 7, 0, matrix)
    out = emulation.empty((batch, n), dtype)
    product = cuda.gaussian_product if kind == "gaussian" else cuda.rademacher_product
    assert product(SEED, STREAM, 7, emulation.array(x), adjoint, out)
    value, bound = oracles.product(x, matrix if adjoint else np.ascontiguousarray(matrix.T))
    oracles.assert_within(out.host, value, bound, str(size))
    if FUSED:
        FUSED[0].use()
        wanted = np.empty((batch, n), dtype)
        product = native.gaussian_product if kind == "gaussian" else native.rademacher_product
        assert product(SEED, STREAM, 7, x, adjoint, wanted)
        oracles.assert_same_bits(out.host, wanted, str(size))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("adjoint", [False, True])
def test_seeded_products_know_no_order_of_threads(emulation, rng, dtype, adjoint, order):
    x = emulation.array(rng.standard_normal((9, 280)).astype(dtype))
    for product in (cuda.gaussian_product, cuda.rademacher_product):
        results = []
        for chosen in (0, order):
            emulation.order(chosen)
            results.append(emulation.empty((9, 150), dtype))
            product(SEED, STREAM, 0, x, adjoint, results[-1])
        oracles.assert_same_bits(results[0].host, results[1].host, f"order {order}")


@pytest.mark.parametrize("log_n", [0, 1, 2, 3, 5, 8, 11, 12, 13, 14, 17])
def test_walsh_hadamard(emulation, rng, log_n):
    rows, n = 2, 1 << log_n
    for kind in (np.float32, np.float64, np.int32):
        if kind == np.int32:
            x = rng.integers(-(2**31), 2**31, (rows, n)).astype(kind)
        else:
            x = rng.standard_normal((rows, n)).astype(kind)
        wanted = np.empty_like(x)
        hadamard.walsh_hadamard(x, wanted)
        device, out = emulation.array(x), emulation.empty(x.shape, kind)
        cuda.walsh_hadamard(device, out)
        oracles.assert_same_bits(out.host, wanted, f"{kind} {n}")
        emulation.order(2)
        cuda.walsh_hadamard(device, device)
        oracles.assert_same_bits(device.host, wanted, f"{kind} {n} in place")
        emulation.order(0)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("n", "m", "size"), [(1, 1, 1), (50, 20, 64), (5000, 700, 16384)])
def test_subsampled_hadamard(emulation, rng, dtype, n, m, size, adjoint):
    signs = rng.integers(0, 2**32, (n + 31) // 32, np.uint32)
    rows = rng.permutation(size)[:m].astype(np.int64)
    x = rng.standard_normal((3, m if adjoint else n)).astype(dtype)
    wanted = np.empty((3, n if adjoint else m), dtype)
    hadamard.subsampled_hadamard(x, signs, rows, size, 0.3, adjoint, wanted)
    out = emulation.empty(wanted.shape, dtype)
    emulation.order(2)
    cuda.subsampled_hadamard(emulation.array(x), signs, rows, size, 0.3, adjoint, out)
    oracles.assert_same_bits(out.host, wanted, f"{n} {m} {size}")


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("m", "n", "per_column"), [(1, 1, 1), (30, 17, 4), (200, 500, 8)])
def test_sparse_sign(emulation, rng, dtype, m, n, per_column, adjoint):
    rows, signs = reference.sparse_sign_columns(3, m, per_column, range(n))
    for batch in (1, 7):
        x = rng.standard_normal((batch, m if adjoint else n)).astype(dtype)
        wanted = np.empty((batch, n if adjoint else m), dtype)
        reference.pack_sparse_sign(rows, signs, m).product(x, adjoint, wanted)
        out = emulation.empty(wanted.shape, dtype)
        cuda.pack_sparse_sign(rows, signs, m).product(emulation.array(x), adjoint, out)
        oracles.assert_same_bits(out.host, wanted, f"{m} {n}")


def test_modulus(emulation, rng, dtype):
    """Of real numbers to the bit; of complex ones to two units in the last place."""
    z = rng.standard_normal((3, 50, 2)).astype(dtype)
    z[0, 0], z[0, 1, 0] = 0, np.nan
    g = rng.standard_normal((3, 50)).astype(dtype)
    out, gradient = emulation.empty((3, 50), dtype), emulation.empty(z.shape, dtype)
    size = np.hypot(z[..., 0], z[..., 1])[..., None]
    slopes = {"magnitude": np.divide(z, size, out=np.zeros_like(z), where=size != 0)}
    slopes["intensity"] = z + z
    values = {"magnitude": size[..., 0], "intensity": np.sum(z * z, axis=-1, dtype=dtype)}
    for kind, value in values.items():
        cuda.modulus(kind, emulation.array(z), out)
        np.testing.assert_allclose(out.host, value, rtol=4 * np.finfo(dtype).eps)
        cuda.modulus_gradient(kind, emulation.array(z), emulation.array(g), gradient)
        wanted = slopes[kind] * g[..., None]
        np.testing.assert_allclose(gradient.host, wanted, rtol=4 * np.finfo(dtype).eps)
    real = np.ascontiguousarray(z[..., 0])
    for kind, value, slope in (
        ("magnitude", np.abs(real), np.sign(real)),
        ("intensity", real * real, real + real),
    ):
        cuda.modulus(kind, emulation.array(real), out)
        oracles.assert_same_bits(out.host, value, kind)
        flat = emulation.empty(real.shape, dtype)
        cuda.modulus_gradient(kind, emulation.array(real), emulation.array(g), flat)
        oracles.assert_same_bits(flat.host, slope * g, kind)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_and_sgd_have_the_bits_of_the_reference(emulation, rng, dtype, decay):
    w, g, first = (rng.standard_normal((7, 45)).astype(dtype) for _ in range(3))
    second = np.square(first)
    c = AdamCoefficients(
        step_size=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, root_correction=1.5,
        weight_decay=decay, decay_factor=1 - decay,
    )  # fmt: skip
    device = [emulation.array(a) for a in (w, g, first, second)]
    cuda.adam_update(*device, c)
    reference.adam_update(w, g, first, second, c)
    for found, wanted in zip(device, (w, g, first, second), strict=True):
        oracles.assert_same_bits(found.host, wanted, "adam")
    cuda.sgd_update(device[0], device[1], 0.01, decay)
    reference.sgd_update(w, g, 0.01, decay)
    oracles.assert_same_bits(device[0].host, w, "sgd")


@pytest.mark.parametrize("size", [0, 1, 300, 40000])
def test_loss_is_summed_in_double(emulation, rng, dtype, size):
    y, target = (rng.standard_normal((1, size)).astype(dtype) for _ in range(2))
    residual, total = emulation.array(y), emulation.empty((1,), np.float64)
    emulation.order(2)
    cuda.square_residual(residual, emulation.array(target), 0.5, total)
    difference = y - target
    oracles.assert_same_bits(residual.host, difference * dtype.type(0.5), "residual")
    exact = np.sum(np.square(difference.astype(np.longdouble)))
    assert abs(total.host[0] - float(exact)) <= 1e-13 * float(exact)
