"""The kernels of measurement operators beside what people use instead.

Seeded products: the matrix is made on the fly here, stored there. Walsh-Hadamard: fht-cpu, and a
copy. Sparse signs: SciPy's CSR. Each is checked before it is timed. `fht-cpu` is installed by hand.
"""

import numpy as np
import pytest

from homfast._backends import automatic, reference
from homfast.bench import machine

SEED, STREAM = 7, 2 << 24 | 1 << 16
ROWS, COLUMNS = 2048, 65536  # not 16384 rows: the matrix of the peers is 512 MiB, not 4 GiB
TRANSFORMS = [(4096, 1024), (64, 1 << 14), (1, 1 << 20)]
SPARSE = (16384, 65536, 8)


def finish(benchmark, group, call, peer, threads, **rates):
    benchmark.group = group
    benchmark.extra_info |= {
        "threads": threads,
        "backend": automatic().name if peer == "homfast" else peer,
        "target": machine.target() if peer == "homfast" else "",
    }
    benchmark(call)
    if benchmark.enabled:
        for name, amount in rates.items():
            benchmark.extra_info[name] = amount / benchmark.stats.stats.median


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("adjoint", [False, True], ids=["forward", "adjoint"])
@pytest.mark.parametrize("peer", ["gaussian", "rademacher", "numpy", "torch"])
def test_seeded_product(benchmark, same_threads, peer, adjoint, batch):
    m, n = (ROWS, COLUMNS) if benchmark.enabled else (40, 300)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, m if adjoint else n), dtype=np.float32)
    out = np.empty((batch, n if adjoint else m), np.float32)
    kind = peer if peer in ("gaussian", "rademacher") else "gaussian"
    some = 20  # rows of the matrix that the check looks at
    matrix = np.empty((some, n), np.float32)
    getattr(reference, f"{kind}_block")(SEED, STREAM, 0, 0, matrix)
    if peer == kind:
        product = getattr(automatic(), f"{kind}_product")

        def call():
            product(SEED, STREAM, 0, x, adjoint, out)
    else:
        matrix = np.empty((m, n), np.float32)
        automatic().gaussian_block(SEED, STREAM, 0, 0, matrix)
        if peer == "numpy":
            right = matrix if adjoint else matrix.T

            def call():
                np.matmul(x, right, out=out)
        else:
            torch = pytest.importorskip("torch")
            left, stored, result = map(torch.from_numpy, (x, matrix, out))

            def call():
                torch.mm(left, stored if adjoint else stored.T, out=result)

    if not adjoint:
        call()
        wanted = x.astype(np.float64) @ matrix[:some].T.astype(np.float64)
        assert np.allclose(out[:, :some], wanted, atol=1e-3 * np.sqrt(n))
    group = f"seeded product {'adjoint' if adjoint else 'forward'} batch {batch}"
    name = "homfast" if peer == kind else peer
    finish(benchmark, group, call, name, same_threads, entries_per_second=m * n)


@pytest.mark.parametrize("shape", TRANSFORMS, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("peer", ["homfast", "fht-cpu", "copy"])
def test_walsh_hadamard(benchmark, same_threads, shape, peer):
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    out = np.empty_like(x)
    if peer == "homfast":

        def call():
            automatic().walsh_hadamard(x, out)
    elif peer == "copy":

        def call():
            np.copyto(out, x)
    else:
        fht = pytest.importorskip("fht_cpu").fht
        source, target = (x, out) if len(x) > 1 else (x[0], out[0])

        def call():
            fht(source, out=target, num_threads=same_threads)

    call()
    if peer != "copy":
        wanted = np.empty((1, shape[1]))
        reference.walsh_hadamard(x[:1].astype(np.float64), wanted)
        assert np.allclose(out[:1], wanted, atol=1e-4 * shape[1])
    group = f"walsh-hadamard {shape} float32"
    finish(benchmark, group, call, peer, same_threads, bytes_per_second=2 * x.nbytes)


@pytest.mark.parametrize("peer", ["homfast", "hadamard-matrix"])
def test_hadamard_matrix(benchmark, same_threads, peer):
    linalg = pytest.importorskip("scipy.linalg")
    n = 4096 if benchmark.enabled else 256
    x = np.random.default_rng(0).standard_normal((64, n), dtype=np.float32)
    out, matrix = np.empty_like(x), linalg.hadamard(n).astype(np.float32)

    def call():
        if peer == "homfast":
            automatic().walsh_hadamard(x, out)
        else:
            np.matmul(x, matrix, out=out)

    call()
    assert np.allclose(out, x.astype(np.float64) @ matrix, atol=1e-3 * np.sqrt(n))
    finish(benchmark, f"walsh-hadamard matrix 64 x {n}", call, peer, same_threads)


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("adjoint", [False, True], ids=["forward", "adjoint"])
@pytest.mark.parametrize("peer", ["homfast", "scipy"])
def test_sparse_sign(benchmark, same_threads, peer, adjoint, batch):
    sparse = pytest.importorskip("scipy.sparse")
    m, n, count = SPARSE if benchmark.enabled else (64, 300, 8)
    rng = np.random.default_rng(0)
    band = m // count  # one entry in each of `count` bands of rows: distinct
    rows = rng.integers(0, band, (n, count)) + band * np.arange(count)
    signs = rng.choice([-1, 1], rows.shape).astype(np.int8)
    entries = signs.ravel().astype(np.float32), (rows.ravel(), np.repeat(np.arange(n), count))
    matrix = sparse.csr_matrix(entries, shape=(m, n))
    matrix = matrix.T.tocsr() if adjoint else matrix
    x = rng.standard_normal((batch, matrix.shape[1]), dtype=np.float32)
    columns = np.ascontiguousarray(x.T)  # what SciPy multiplies fastest
    out = np.empty((batch, matrix.shape[0]), np.float32)
    handle = automatic().pack_sparse_sign(rows, signs, m)

    def call():
        if peer == "homfast":
            handle.product(x, adjoint, out)
            return out.T
        return matrix @ columns

    assert np.allclose(call(), matrix.astype(np.float64) @ columns, atol=1e-3)
    group = f"sparse sign {'adjoint' if adjoint else 'forward'} batch {batch}"
    finish(benchmark, group, call, peer, same_threads, entries_per_second=batch * rows.size)
