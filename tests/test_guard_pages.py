"""No byte outside an array is read or written: arrays lie against pages that trap.

Each engine runs in a process of its own, which names each case before it runs it, so that a trap
is a failure with its case and not the end of the test run.
"""

import sys

import pytest
from processes import run_python

SHAPES = [(rows, features, columns)
          for rows in (1, 2, 3, 7, 17)
          for features in (1, 2, 3, 5, 8, 15, 17, 33)
          for columns in (1, 3, 4, 7, 9, 16, 31, 65)]  # fmt: skip
SHAPES += [(40, 100, 77), (100, 300, 30), (13, 517, 8), (300, 5, 130), (64, 64, 64), (600, 3, 5)]


@pytest.mark.skipif(sys.platform != "linux", reason="guard pages are made with Linux's mprotect")
@pytest.mark.parametrize("edge", ["end", "start"])
def test_nothing_outside_is_touched(engine, edge):
    code = "from engines import Engine; import test_guard_pages\n"
    code += f"test_guard_pages.run({engine!r}, {edge!r})"
    done = run_python(code, timeout=200)
    last = (done.stdout.splitlines() or ["nothing"])[-1]
    assert done.returncode == 0, f"{engine} {edge}: died at {last}\n{done.stderr[-3000:]}"
    assert last == "done"


def run(engine, edge, shapes=SHAPES):
    import numpy as np
    from guarded import Guarded
    from oracles import integers, pack

    import homfast

    engine.use()
    rng = np.random.default_rng(3)
    largest = max(max(m * k, n * k, m * n) for m, k, n in shapes) * 8
    spaces = {name: Guarded(largest) for name in ("x", "weight", "grad", "mask", "out", "bits")}

    def place(name, array):
        return spaces[name].place(array, edge)

    def check(name, actual, wanted):
        assert np.array_equal(actual, wanted), f"{name}: wrong values"
        assert not spaces[name].written_outside(actual), f"{name}: written outside"

    for dtype in (np.float32, np.float64):
        for rows, features, columns in shapes:
            print(f"{engine} {edge} {dtype.__name__} {rows, features, columns}", flush=True)
            x = place("x", integers(rng, (rows, features), dtype))
            weight = place("weight", integers(rng, (columns, features), dtype))
            grad = place("grad", integers(rng, (rows, columns), dtype))
            active = rng.random((rows, columns)) < 0.5
            mask = place("mask", pack(active))
            z = x.astype(np.int64) @ weight.T.astype(np.int64)
            passed = np.where(active, grad, 0).astype(np.int64)
            module = engine.module
            for handle in (weight, module.pack_weight(weight)):
                out = place("out", np.zeros((rows, columns), dtype))
                module.linear(x, handle, out)
                check("out", out, z)
                for slope in (0.0, 0.5):
                    out = place("out", np.zeros((rows, columns), dtype))
                    bits = place("bits", np.zeros_like(mask))
                    module.linear_relu(x, handle, slope, out, bits)
                    check("out", out, np.where(z > 0, z, slope * z))
                    check("bits", bits, pack(z > 0))
                out = place("out", np.zeros((rows, columns), dtype))
                module.linear_masked(x, handle, mask, 0.5, out)
                check("out", out, np.where(active, z, 0.5 * z))
                out = place("out", np.zeros((rows, features), dtype))
                module.grad_input(grad, handle, mask, 0.0, out)
                check("out", out, passed @ weight.astype(np.int64))
            if engine.backend == "native":  # the calls without backend=, which check in C++
                y, bits = homfast.linear_relu(x, weight, return_mask=True)
                assert np.array_equal(y, np.maximum(z, 0)) and np.array_equal(bits, pack(z > 0))
                gradients = homfast.linear_relu_backward(grad, x, weight, mask)
                assert np.array_equal(gradients[0], passed @ weight.astype(np.int64))
            out = place("out", np.zeros((columns, features), dtype))
            module.grad_weight(grad, x, mask, 0.0, out)
            check("out", out, passed.T @ x.astype(np.int64))
            run_network(module, place, check, x, weight, np)
            run_updates(module, place, check, dtype, columns, features, np)
    print("done")


def run_network(module, place, check, x, weight, np):
    """x weight^T and back through weight: one hidden layer, every array at the edge."""
    from oracles import integers, pack

    layers = [module.pack_weight(weight), module.pack_weight(np.ascontiguousarray(weight.T))]
    network, (rows, columns) = module.pack_network(layers, 0.0), (len(x), len(weight))
    wide = weight.astype(np.int64)
    z = x.astype(np.int64) @ wide.T
    hidden = place("grad", np.zeros((rows, columns), x.dtype))
    mask = place("mask", np.zeros((rows, (columns + 7) // 8), np.uint8))
    for masks, inner in (([], []), ([mask], [hidden])):
        out = place("out", np.zeros_like(x))
        network.forward(x, masks, inner, out)
        check("out", out, np.maximum(z, 0) @ wide)
    check("mask", mask, pack(z > 0))
    check("grad", hidden, np.maximum(z, 0))
    y = network.plain(x, None)
    assert y is None or np.array_equal(y, np.maximum(z, 0) @ wide)
    v = place("bits", integers(np.random.default_rng(1), x.shape, x.dtype))
    for call, name in ((network.forward_masked, "forward_masked"), (network.adjoint, "adjoint")):
        out = place("out", np.zeros_like(x))
        call(v, [mask], out)
        wanted = np.where(z > 0, v.astype(np.int64) @ wide.T, 0) @ wide
        assert np.array_equal(out, wanted), name
        check("out", out, wanted)


def run_updates(module, place, check, dtype, columns, features, np):
    from homfast.training import AdamCoefficients

    ones = np.ones((columns, features), dtype)
    weight, grad = place("weight", ones), place("grad", ones)
    module.sgd_update(weight, grad, 0.25, 1.0)
    check("weight", weight, 0.5 * ones)
    weight, first, second = place("weight", ones), place("x", 0 * ones), place("out", 0 * ones)
    module.adam_update(weight, grad, first, second, AdamCoefficients(1, 0.5, 0.75, 0, 2, 0, 1))
    check("weight", weight, 0.5 * ones)
    check("x", first, 0.5 * ones)
    check("out", second, 0.25 * ones)


def test_the_guard_traps():
    """The instrument itself: one byte beyond either edge kills the process that reads it."""
    for edge, beyond in (("end", 4), ("start", -1)):
        code = (
            "import ctypes, numpy; from guarded import Guarded; g = Guarded(100)\n"
            f"a = g.place(numpy.zeros(25, numpy.float32), {edge!r})\n"
            f"print(ctypes.string_at(a.ctypes.data + {0 if edge == 'start' else 96}, 4))\n"
            f"ctypes.string_at(a.ctypes.data + {beyond if edge == 'start' else 96 + beyond}, 1)\n"
        )
        done = run_python(code)
        assert done.stdout.startswith("b'") and done.returncode < 0, f"{edge}: {done}"
