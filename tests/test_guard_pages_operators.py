"""The operators' kernels touch no byte outside their arrays: these lie against pages that trap.

As test_guard_pages.py, each engine in a process of its own.
"""

import sys

import pytest
from processes import run_python

SIZES = [1, 2, 3, 7, 8, 9, 16, 17, 31, 33, 64, 100, 127, 128, 129, 257, 300]


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mprotect")
@pytest.mark.parametrize("edge", ["end", "start"])
def test_nothing_outside_is_touched(native_engine, edge):
    code = "from engines import Engine; import test_guard_pages_operators as here\n"
    code += f"here.run({native_engine!r}, {edge!r})"
    done = run_python(code, timeout=200)
    last = (done.stdout.splitlines() or ["nothing"])[-1]
    assert done.returncode == 0, f"{native_engine} {edge}: died at {last}\n{done.stderr[-3000:]}"
    assert last == "done"


def run(engine, edge, sizes=SIZES):
    import numpy as np
    from guarded import Guarded

    from homfast._backends import native, reference

    engine.use()
    rng = np.random.default_rng(3)
    spaces = {name: Guarded(1 << 20) for name in ("x", "out", "signs", "rows", "entries")}

    def place(name, array):
        return spaces[name].place(array, edge)

    def check(name, op, x, width, *arguments):
        """op(backend, x, out, *arguments) on guarded arrays, its bits those of the reference."""
        print(f"{engine} {edge} {name} {x.dtype} {x.shape} {width}", flush=True)
        wanted = np.empty((x.shape[0], width), x.dtype)
        op(reference, x, wanted, *arguments)
        out = place("out", np.zeros_like(wanted))
        if op(native, place("x", x), out, *arguments) is False:  # a target that cannot
            wanted[...] = 0
        assert np.array_equal(out, wanted), f"{name}: wrong values"
        assert not spaces["out"].written_outside(out), f"{name}: written outside"

    def block(backend, x, out):
        backend.rademacher_block(7, 8, 9, 3, out)

    def words(backend, x, out):
        backend.rademacher_words(7, 8, 9, 3, out)

    def seeded(backend, x, out, adjoint):
        return backend.rademacher_product(7, 8, 9, x, adjoint, out)

    def transform(backend, x, out):
        backend.walsh_hadamard(x, out)

    def subsampled(backend, x, out, signs, rows, size, adjoint):
        if backend is native:
            signs, rows = place("signs", signs), place("rows", rows)
        backend.subsampled_hadamard(x, signs, rows, size, 0.5, adjoint, out)

    def sparse(backend, x, out, rows, signs, m, adjoint):
        if backend is native:
            rows, signs = place("rows", rows), place("entries", signs)
        backend.pack_sparse_sign(rows, signs, m).product(x, adjoint, out)

    for dtype in (np.float32, np.float64):
        for n in sizes:
            for batch in (1, 2, 5, 17):
                size = 1 << (n - 1).bit_length()
                x = rng.integers(-8, 9, (batch, n)).astype(dtype)
                check("block", block, x, n)
                check("words", words, np.zeros((batch, n), np.uint32), n)
                padded = rng.integers(-8, 9, (batch, size)).astype(dtype)
                check("transform", transform, padded, size)
                signs = rng.integers(0, 2**32, -(-n // 32), np.uint32)
                for m in (1, 5, 37, 130):
                    rows = rng.permutation(size)[:m].astype(np.int64)
                    y = rng.integers(-8, 9, (batch, rows.size)).astype(dtype)
                    check("subsampled", subsampled, x, rows.size, signs, rows, size, False)
                    check("subsampled adjoint", subsampled, y, n, signs, rows, size, True)
                    y = rng.integers(-8, 9, (batch, m)).astype(dtype)
                    check("seeded", seeded, x, m, False)
                    check("seeded adjoint", seeded, y, n, True)
                    rows = np.stack([rng.permutation(m)[:3] for _ in range(n)]).astype(np.int64)
                    minus = rng.choice([-1, 1], rows.shape).astype(np.int8)
                    check("sparse", sparse, x, m, rows, minus, m, False)
                    check("sparse adjoint", sparse, y, n, rows, minus, m, True)
    print("done")
