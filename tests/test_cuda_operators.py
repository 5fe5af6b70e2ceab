"""The CUDA kernels of operators and updates, run on the host: the bits of the references."""

import numpy as np
import oracles
import pytest
from engines import NATIVE_ENGINES
from operators import complex_of, draw

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
    pairs = rng.standard_normal((3, 50, 2)).astype(dtype)
    pairs[0, 0], pairs[0, 1, 0] = 0, np.nan
    z = pairs.view(complex_of(dtype))[..., 0]
    g = rng.standard_normal((3, 50)).astype(dtype)
    out, gradient = emulation.empty((3, 50), dtype), emulation.empty(z.shape, z.dtype)
    size = np.hypot(z.real, z.imag)[..., None]
    slopes = {"magnitude": np.divide(pairs, size, out=np.zeros_like(pairs), where=size != 0)}
    slopes["intensity"] = pairs + pairs
    values = {"magnitude": size[..., 0], "intensity": np.sum(pairs * pairs, axis=-1, dtype=dtype)}
    for kind, value in values.items():
        cuda.modulus(kind, emulation.array(z), out)
        np.testing.assert_allclose(out.host, value, rtol=4 * np.finfo(dtype).eps)
        cuda.modulus_gradient(kind, emulation.array(z), emulation.array(g), gradient)
        wanted = slopes[kind] * g[..., None]
        found = np.ascontiguousarray(gradient.host).view(dtype).reshape(pairs.shape)
        np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps)
    real = np.ascontiguousarray(pairs[..., 0])
    for kind, value, slope in (
        ("magnitude", np.abs(real), np.sign(real)),
        ("intensity", real * real, real + real),
    ):
        cuda.modulus(kind, emulation.array(real), out)
        oracles.assert_same_bits(out.host, value, kind)
        flat = emulation.empty(real.shape, dtype)
        cuda.modulus_gradient(kind, emulation.array(real), emulation.array(g), flat)
        oracles.assert_same_bits(flat.host, slope * g, kind)


NUMBERS = [np.dtype(kind) for kind in "fdFD"]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_scale_takes_parts_apart(emulation, rng, kind):
    """An infinity in one part makes no NaN in the other; what lies between rows stays."""
    values = draw(rng, (5, 7), kind)
    values.real[2, 3] = np.inf
    there = emulation.array(values, row_stride=11)
    cuda.scale(there, -0.3)
    parts = values.view(values.real.dtype)
    wanted = parts * parts.dtype.type(-0.3)
    oracles.assert_same_bits(there.host.view(parts.dtype), wanted, str(kind))


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_sums_of_places(emulation, rng, kind, order):
    """Each target adds its places in their order to the start; others are not written."""
    emulation.order(order)
    for batch, places, counts in ((1, 40, (3, 0, 1, 36)), (5, 700, (300, 400)), (3, 4, (1,) * 4)):
        x = draw(rng, (batch, 90), kind)
        where = rng.integers(0, 90, places)
        offsets = np.cumsum((0, *counts))
        targets = rng.permutation(11)[: len(counts)]
        tables = [emulation.array(each.astype(np.int64)) for each in (where, offsets, targets)]
        for start in (0.0, -0.0):
            wanted = np.full((batch, 11), 7, kind)
            out = emulation.array(wanted)
            for t, target in enumerate(targets):
                sums = np.full((batch, kind.itemsize // x.real.itemsize), start, x.real.dtype)
                sums = sums.view(kind)[:, 0]  # both parts of a complex number
                for place in where[offsets[t] : offsets[t + 1]]:
                    sums = sums + x[:, place]
                wanted[:, target] = sums
            cuda.sum_places(emulation.array(x, row_stride=93), *tables, start, out)
            oracles.assert_same_bits(out.host, wanted, f"{kind} {batch} {places}")
        gathered = emulation.empty((batch, places), kind)
        x[0, where[0]] = -0.0
        cuda.sum_places(emulation.array(x), tables[0], None, None, -0.0, gathered)
        oracles.assert_same_bits(gathered.host, x[:, where], "gathered")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_weighted_rows(emulation, rng, kind, shared):
    def times(a, b):  # complex products in real ones, each rounded once
        if kind.kind == "f":
            return a * b
        found = np.empty(np.broadcast_shapes(a.shape, b.shape), kind)
        found.real = a.real * b.real - a.imag * b.imag
        found.imag = a.real * b.imag + a.imag * b.real
        return found

    for batch, d, m in ((1, 1, 1), (3, 5, 70), (2, 300, 3), (2, 0, 4), (0, 3, 4)):
        x, rows = draw(rng, (batch, m), kind), draw(rng, (batch * d, m), kind)
        groups = min(1, batch) if shared else batch
        weights = draw(rng, (groups * d, m), kind)
        each = np.broadcast_to(weights.reshape(groups, d, m), (batch, d, m))
        out = emulation.empty((batch * d, m), kind, row_stride=m + 3)
        there = emulation.array(weights)
        cuda.weigh_rows(emulation.array(x), there, out)
        wanted = times(x[:, None], each)
        oracles.assert_same_bits(out.host, wanted.reshape(batch * d, m), f"{batch} {d} {m}")
        for accumulate in (False, True):
            sums = emulation.array(x)
            cuda.sum_weighted_rows(emulation.array(rows), there, accumulate, sums)
            wanted = x.copy() if accumulate else np.zeros_like(x)
            for k in range(d):
                wanted = wanted + times(rows.reshape(batch, d, m)[:, k], each[:, k])
            oracles.assert_same_bits(sums.host, wanted, f"{batch} {d} {m}")


def test_shapes_that_do_not_match_are_refused(emulation):
    x = emulation.array(np.ones((4, 3), np.float32))
    table = emulation.array(np.arange(3))
    with pytest.raises(ValueError, match=r"^x, weights, out: shapes"):
        cuda.weigh_rows(x, x, emulation.empty((6, 3), np.float32))
    with pytest.raises(ValueError, match=r"^x, weights, out: shapes"):
        cuda.sum_weighted_rows(x, x, False, emulation.empty((3, 3), np.float32))
    with pytest.raises(ValueError, match=r"^offsets, targets: wanted both"):
        cuda.sum_places(x, table, table, None, 0.0, emulation.empty((4, 3), np.float32))
    with pytest.raises(ValueError, match=r"^offsets: wanted 4 elements"):
        cuda.sum_places(x, table, table, table, 0.0, emulation.empty((4, 3), np.float32))
    with pytest.raises(ValueError, match=r"^places: wanted 2 elements"):
        cuda.sum_places(x, table, None, None, 0.0, emulation.empty((4, 2), np.float32))


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
