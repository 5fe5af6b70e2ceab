"""What the ops of the `cupy` backend are compared with: the reference, op by op.

Each takes (backend, to_device, to_host, dtype, rng), so that it runs on the host and on a GPU.
"""

import numpy as np
from oracles import WIDE, assert_same_bits, assert_within, pack, product, relu

import homfast._backends.reference as reference
from homfast._backends import streams
from homfast.training import AdamCoefficients

SHAPES = [(1, 1, 1), (3, 5, 7), (20, 17, 33), (0, 4, 3), (4, 0, 9), (33, 64, 16)]


def layers(backend, to_device, to_host, dtype, rng):
    for rows, features, columns in SHAPES:
        for slope in (0.0, 0.25):
            x = rng.standard_normal((rows, features)).astype(dtype)
            weight = rng.standard_normal((columns, features)).astype(dtype)
            grad = rng.standard_normal((rows, columns)).astype(dtype)
            bits = pack(rng.random((rows, columns)) < 0.5)
            given = [to_device(a) for a in (x, weight, grad, bits)]
            case = f"{dtype} {rows, features, columns} slope={slope}"
            z, bound = product(x, weight.T)
            out, mask = (
                to_device(np.full((rows, columns), np.nan, dtype)),
                to_device(bits * 0 + 255),
            )
            backend.linear_relu(given[0], given[1], slope, out, mask)
            value, relu_bound = relu(z, bound, slope, dtype)
            assert_within(to_host(out), value, relu_bound, f"linear_relu {case}")
            plain = to_device(np.full((rows, columns), np.nan, dtype))
            backend.linear(given[0], given[1], plain)
            assert_within(to_host(plain), z, bound, f"linear {case}")
            assert_same_bits(to_host(mask), pack(~(to_host(plain) <= 0)), f"mask {case}")
            backend.linear_masked(given[0], given[1], given[3], slope, out)
            wanted = reference.select(bits, to_host(plain), slope)
            assert_same_bits(to_host(out), wanted, f"linear_masked {case}")
            masked = reference.select(bits, grad, slope)
            below = to_device(np.full((rows, features), np.nan, dtype))
            backend.grad_input(given[2], given[1], given[3], slope, below)
            assert_within(to_host(below), *product(masked, weight), f"grad_input {case}")
            slopes = to_device(np.full((columns, features), np.nan, dtype))
            backend.grad_weight(given[2], given[0], given[3], slope, slopes)
            assert_within(to_host(slopes), *product(masked.T.copy(), x), f"grad_weight {case}")


def special_values(backend, to_device, to_host, dtype, rng):
    z = np.array([[np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 2, -2]], dtype)
    eye = np.ones((1, 1), dtype)
    out, mask = to_device(np.empty((10, 1), dtype)), to_device(np.empty((10, 1), np.uint8))
    backend.linear_relu(to_device(z.T.copy()), to_device(eye), 0.0, out, mask)
    wanted, bits = np.empty((10, 1), dtype), np.empty((10, 1), np.uint8)
    reference.linear_relu(z.T.copy(), eye, 0.0, wanted, bits)
    assert np.array_equal(to_host(out), wanted, equal_nan=True)
    assert np.array_equal(np.signbit(to_host(out))[2:], np.signbit(wanted)[2:])
    assert np.array_equal(to_host(mask), bits)
    nothing = to_device(np.zeros((1, 2), np.uint8))
    passed = to_device(np.empty((1, 10), dtype))
    identity = to_device(np.eye(10, dtype=dtype))
    backend.grad_input(to_device(z), identity, nothing, 0.0, passed)
    assert_same_bits(to_host(passed), np.zeros((1, 10), dtype), "a masked unit passes +0")


def updates(backend, to_device, to_host, dtype, rng):
    choices = [
        AdamCoefficients(1e-3, 0.9, 0.999, 1e-8, 1.7, 0.0, 1.0),
        AdamCoefficients(1e-2, 0.9, 0.999, 1e-8, 31.6, 0.01, 0.999),
    ]
    for coefficients in choices:
        arrays = [rng.standard_normal((7, 33)).astype(dtype) for _ in range(3)]
        arrays.append(rng.standard_exponential((7, 33)).astype(dtype))
        own = [to_device(a.copy()) for a in arrays]
        backend.adam_update(*own, coefficients)
        reference.adam_update(*arrays, coefficients)
        for mine, wanted in zip(own, arrays, strict=True):
            assert_same_bits(to_host(mine), wanted, f"adam {dtype}")
    weight, grad = (rng.standard_normal((5, 9)).astype(dtype) for _ in range(2))
    own = to_device(weight.copy())
    backend.sgd_update(own, to_device(grad), 0.1, 0.01)
    reference.sgd_update(weight, grad, 0.1, 0.01)
    assert_same_bits(to_host(own), weight, f"sgd {dtype}")


def bfloat16(backend, to_device, to_host, dtype, rng):
    values = rng.integers(0, 1 << 16, (3, 500)).astype(np.uint16)
    wide = to_device(np.empty((3, 500), np.float32))
    backend.widen_bfloat16(to_device(values), wide)
    wanted = np.empty((3, 500), np.float32)
    reference.widen_bfloat16(values, wanted)
    assert_same_bits(to_host(wide).view(np.uint32), wanted.view(np.uint32), "widen")
    singles = rng.integers(0, 1 << 32, (3, 500), dtype=np.uint32).view(np.float32)
    half, rounded = to_device(np.empty((3, 500), np.uint16)), np.empty((3, 500), np.uint16)
    backend.round_to_bfloat16(to_device(singles), half)
    reference.round_to_bfloat16(singles, rounded)
    assert_same_bits(to_host(half), rounded, "round")


SEED, ROW = 0xFEDCBA9876543210, 2**32 - 5
BLOCKS = [
    (0, 0, 3, 5),
    (ROW, 0, 9, 300),
    (ROW, 127, 2, 1),
    (5, 3, 4, 130),
    (1, 129, 1, 255),
    (0, 0, 0, 4),
]


def seeded_entries(backend, to_device, to_host, dtype, rng):
    gaussian = streams.stream_word(streams.GAUSSIAN, dtype.itemsize)
    signs = streams.stream_word(streams.RADEMACHER)
    for row, column, rows, columns in BLOCKS:
        for op, stream, kind in (
            ("gaussian_block", gaussian, dtype),
            ("rademacher_block", signs, dtype),
            ("rademacher_words", signs, np.uint32),
        ):
            around = np.full((rows + 2, columns + 3), 77, kind)
            wanted = around.copy()
            getattr(reference, op)(SEED, stream, row, column, wanted[1:-1, 1:-2])
            made = to_device(around)
            getattr(backend, op)(SEED, stream, row, column, made[1:-1, 1:-2])
            assert_same_bits(to_host(made), wanted, f"{op} {dtype} {row, column, rows, columns}")


def drawn_tables(backend, to_device, to_host, dtype, rng):
    for count, m in ((1, 1), (7, 3), (1000, 1000), (1001, 5), (5, 0)):
        mine = to_host(backend.row_permutation(SEED, count, m))
        assert_same_bits(mine, reference.row_permutation(SEED, count, m), f"{count} {m}")
    for m, nonzeros, columns in ((1, 1, range(3)), (40, 8, range(5, 50)), (300, 131, range(2, 9))):
        mine = backend.sparse_sign_columns(SEED, m, nonzeros, columns)
        wanted = reference.sparse_sign_columns(SEED, m, nonzeros, columns)
        for part, other in zip(mine, wanted, strict=True):
            assert_same_bits(to_host(part), other, f"sparse signs {m} {nonzeros} {columns}")


def sparse_products(backend, to_device, to_host, dtype, rng):
    for m, nonzeros, n in ((1, 1, 3), (40, 8, 45), (5, 5, 70)):
        rows, signs = reference.sparse_sign_columns(SEED, m, nonzeros, range(n))
        matrix = backend.pack_sparse_sign(to_device(rows), to_device(signs), m)
        dense = np.zeros((m, n))
        np.put_along_axis(dense, rows.T, signs.T.astype(float), axis=0)
        for adjoint in (False, True):
            x = rng.integers(-9, 10, (4, m if adjoint else n)).astype(dtype)
            wanted = x @ (dense if adjoint else dense.T)
            out = to_device(np.full(wanted.shape, 5, dtype))
            matrix.product(to_device(x), adjoint, out)
            assert np.array_equal(to_host(out), wanted), f"{m} {nonzeros} {n} {adjoint}"
            matrix.product(to_device(x), adjoint, out, accumulate=True)
            assert np.array_equal(to_host(out), 2 * wanted), f"{m} {nonzeros} {n} {adjoint}"
            real = rng.standard_normal(x.shape).astype(dtype)
            same = np.empty(wanted.shape, dtype)
            reference.pack_sparse_sign(rows, signs, m).product(real, adjoint, same)
            matrix.product(to_device(real), adjoint, out)
            assert_same_bits(to_host(out), same, f"{m} {nonzeros} {n} {adjoint} order of the sum")


def seeded_products(backend, to_device, to_host, dtype, rng):
    for kind, stream in (("gaussian", dtype.itemsize), ("rademacher", 3 << 16)):
        entries = np.empty((70, 130), dtype)
        getattr(reference, f"{kind}_block")(SEED, stream, ROW, 0, entries)
        for adjoint in (False, True):
            x = rng.standard_normal((5, 70 if adjoint else 130)).astype(dtype)
            out = to_device(np.empty((5, 130 if adjoint else 70), dtype))
            right = entries if adjoint else entries.T.copy()
            assert getattr(backend, f"{kind}_product")(
                SEED, stream, ROW, to_device(x), adjoint, out
            )
            assert_within(to_host(out), *product(x, right), f"{kind} {dtype} {adjoint}")


def hadamard(backend, to_device, to_host, dtype, rng):
    for n in (1, 2, 8, 64, 1024):
        for kind in (dtype, np.dtype(np.int32)):
            x = (1000 * rng.standard_normal((3, n))).astype(kind)
            wanted, out = np.empty_like(x), to_device(np.empty_like(x))
            reference.walsh_hadamard(x, wanted)
            backend.walsh_hadamard(to_device(x), out)
            assert_same_bits(to_host(out), wanted, f"{kind} {n}")
            backend.walsh_hadamard(out, out)
            reference.walsh_hadamard(wanted, wanted)
            assert_same_bits(to_host(out), wanted, f"{kind} {n} in place")
    for n, m, size in ((1, 1, 1), (33, 7, 64), (64, 64, 64)):
        signs = rng.integers(0, 1 << 32, -(-n // 32), dtype=np.uint32)
        rows = rng.permutation(size)[:m].astype(np.int64)
        for adjoint in (False, True):
            x = rng.standard_normal((3, m if adjoint else n)).astype(dtype)
            wanted = np.empty((3, n if adjoint else m), dtype)
            out = to_device(np.empty_like(wanted))
            reference.subsampled_hadamard(x, signs, rows, size, 0.3, adjoint, wanted)
            given = to_device(x), to_device(signs), to_device(rows)
            backend.subsampled_hadamard(*given, size, 0.3, adjoint, out)
            assert_same_bits(to_host(out), wanted, f"{dtype} {n, m, size} {adjoint}")


def scaled(backend, to_device, to_host, dtype, rng):
    """Parts of complex numbers apart: an infinity in one makes no NaN in the other."""
    pairs = rng.standard_normal((3, 10)).astype(dtype)
    pairs[1, 4] = np.inf
    there = to_device(pairs.view(np.result_type(dtype, np.complex64)).copy())
    backend.scale(there, -0.3)
    assert_same_bits(to_host(there).view(dtype), pairs * dtype.type(-0.3), "scale")


def moduli(backend, to_device, to_host, dtype, rng):
    pairs = rng.standard_normal((3, 20)).astype(dtype)
    pairs[0, :2] = 0
    z, g = pairs.view(np.result_type(dtype, np.complex64)), rng.standard_normal((3, 10))
    g = g.astype(dtype)
    size = np.hypot(z.real, z.imag)
    tolerance = 4 * np.finfo(dtype).eps
    for kind, value, slope in (
        ("magnitude", size, z / np.where(size == 0, 1, size)),
        ("intensity", size * size, z + z),
    ):
        out, gradient = to_device(np.empty_like(g)), to_device(np.empty_like(z))
        backend.modulus(kind, to_device(z), out)
        backend.modulus_gradient(kind, to_device(z), to_device(g), gradient)
        assert np.allclose(to_host(out), value, rtol=tolerance, atol=0), kind
        assert np.allclose(to_host(gradient), slope * g, rtol=tolerance, atol=0), kind


def matrix_measurements(backend, to_device, to_host, dtype, rng):
    """Sums at places, and of weighted rows, in their order; exact integers where complex."""
    for kind in (dtype, np.result_type(dtype, np.complex64)):

        def draw(*shape, kind=kind):
            if kind.kind == "f":
                return rng.standard_normal(shape).astype(kind)
            return (rng.integers(-9, 10, shape) + 1j * rng.integers(-9, 10, shape)).astype(kind)

        x, where = draw(3, 20), rng.integers(0, 20, 40)
        offsets, targets = np.array([0, 3, 3, 40]), np.array([4, 0, 2])
        out, wanted = to_device(np.full((3, 5), 7, kind)), np.full((3, 5), 7, kind)
        tables = [to_device(each.astype(np.int64)) for each in (where, offsets, targets)]
        backend.sum_places(to_device(x), *tables, 0.0, out)
        wanted[:, targets] = 0
        for t, target in enumerate(targets):
            for place in where[offsets[t] : offsets[t + 1]]:
                wanted[:, target] += x[:, place]
        assert_same_bits(to_host(out), wanted, "sum_places")
        gathered = to_device(np.empty((3, 40), kind))
        backend.sum_places(to_device(x), tables[0], None, None, -0.0, gathered)
        assert_same_bits(to_host(gathered), x[:, where], "gathered")
        rows = draw(12, 20)
        for weights in (draw(4, 20), draw(12, 20)):
            each = np.broadcast_to(weights.reshape(-1, 4, 20), (3, 4, 20))
            found = to_device(np.empty((12, 20), kind))
            backend.weigh_rows(to_device(x), to_device(weights), found)
            assert_same_bits(to_host(found), (x[:, None] * each).reshape(12, 20), "weigh_rows")
            for start in (None, x):
                sums = to_device(np.empty_like(x) if start is None else x.copy())
                backend.sum_weighted_rows(
                    to_device(rows), to_device(weights), start is not None, sums
                )
                wanted = np.zeros_like(x) if start is None else x.copy()
                for k in range(4):
                    wanted = wanted + rows.reshape(3, 4, 20)[:, k] * each[:, k]
                assert_same_bits(to_host(sums), wanted, "sum_weighted_rows")


def networks(backend, to_device, to_host, dtype, rng):
    shapes = [(9, 5), (4, 9), (3, 4)]
    weights = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    x, target = rng.standard_normal((6, 5)).astype(dtype), rng.standard_normal((6, 3)).astype(dtype)
    results = []
    for ops, there, here in ((reference, np.array, np.asarray), (backend, to_device, to_host)):
        own = [there(w.copy()) for w in weights]
        chain = ops.pack_network([ops.pack_weight(w) for w in own], 0.1)
        training = ops.pack_training(chain)
        y, trace = training.trace(there(x))
        grad, grads = trace.pull_back(there(target), True)
        first, second = ([there(np.zeros_like(w)) for w in weights] for _ in range(2))
        adam = AdamCoefficients(1e-3, 0.9, 0.999, 1e-8, 1.7, 0.0, 1.0)
        losses = [
            training.fit_step(there(x), there(target), adam, 0.1, 0.0, first, second),
            training.fit_step(there(x), there(target), (), 0.1, 0.0, [], []),
        ]
        results.append([here(y), here(grad), *map(here, grads), np.array(losses), *map(here, own)])
    tolerance = 1e3 * float(np.finfo(dtype).eps)
    for mine, wanted in zip(results[1], results[0], strict=True):
        wide = WIDE[dtype]
        assert np.allclose(mine.astype(wide), wanted.astype(wide), rtol=tolerance, atol=tolerance)


ALL = [
    layers, special_values, updates, bfloat16, seeded_entries, drawn_tables, sparse_products,
    seeded_products, hadamard, scaled, moduli, matrix_measurements, networks,
]  # fmt: skip
