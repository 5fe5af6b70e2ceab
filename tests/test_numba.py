"""What is the `numba` backend's own: types, cache, laziness, threads. Its ops run in all tests."""

import errno
import logging
import platform
import re

import numpy as np
import pytest
from engines import NATIVE_ENGINES, NUMBA_ENGINES
from oracles import assert_same_bits, pack
from processes import output, run_python

import homfast
from homfast._backends import numba as backend

if not NUMBA_ENGINES:
    pytest.skip(f"nothing ran on numba: {backend.why_unavailable()}", allow_module_level=True)


@pytest.fixture(scope="module")
def kernels():
    """The modules of kernels."""
    assert backend.is_available(), backend.why_unavailable()
    return backend._kernels


def compiled(kernels, dtype):
    """Each kernel of a dtype by name, compiled anew: what a cache returns cannot be looked into."""
    import numba

    product, elementwise = kernels
    found = product.product_kernels(dtype)
    updates = elementwise.update_kernels(dtype)
    for name, kernel in {
        "pack": found.pack,
        "multiply": found.multiply,
        "select": elementwise.select_kernel(dtype),
        "adam": updates.adam,
        "sgd": updates.sgd,
    }.items():
        options = {key: kernel.targetoptions[key] for key in ("nogil", "error_model")}
        fresh = numba.njit(**options)(kernel.py_func)
        (signature,) = kernel.signatures
        fresh.compile(signature)
        yield name, fresh, signature


# Compilation -------------------------------------------------------------------------------------


def test_float32_kernels_hold_no_float64_and_nothing_is_fast_math(kernels):
    from numba import types

    for name, kernel, signature in compiled(kernels, np.dtype(np.float32)):
        held = kernel.overloads[signature].type_annotation.typemap
        wide = {k: v for k, v in held.items() if v in (types.float64, types.complex128)}
        wide.update({k: v for k, v in held.items() if getattr(v, "dtype", None) == types.float64})
        assert held and not wide, f"{name}: {wide}"
        source = kernel.inspect_llvm(signature)
        words = [w for w in (" fast ", " contract ", " reassoc ", " nnan ") if w in source]
        assert not words, f"{name}: {words}"
        steps = re.findall(r"f(?:add|sub|mul|div|ma)\S* (?:<\d+ x )?double", source)
        assert not steps, f"{name}: {steps}"
        assert "NRT_MemInfo_alloc" not in source, f"{name} allocates what it uses by address"
        assert kernel.targetoptions["nogil"], f"{name} keeps the GIL"


def test_a_kernel_takes_its_types_and_no_others(kernels):
    product, _ = kernels
    found = product.product_kernels(np.dtype(np.float32))
    with pytest.raises(TypeError, match="No matching definition"):
        found.pack(np.ones((3, 3)), True, np.ones(100), 0, 1)
    assert len(found.pack.signatures) == 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (20, 17, 33), (100, 300, 77), (64, 700, 16)])
def test_bits_are_those_of_native_where_both_fuse(kernels, dtype, rng, shape):
    from homfast._backends.numba_kernels.machine import compiled_for

    engine = next((e for e in NATIVE_ENGINES if e.target in ("avx512", "avx2", "neon")), None)
    if engine is None or not compiled_for().fused:
        pytest.skip("no native target that fuses multiply-adds")
    engine.use()
    homfast.set_batch_invariant(True)
    rows, features, columns = shape
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    results = []
    for name in ("native", "numba"):
        forward = homfast.linear_relu(x, weight, negative_slope=0.1, return_mask=True, backend=name)
        back = homfast.linear_relu_backward(grad, x, weight, mask, negative_slope=0.1, backend=name)
        results.append([homfast.linear(x, weight, backend=name), *forward, *back])
    for actual, wanted in zip(*results, strict=True):
        assert_same_bits(actual, wanted, f"{dtype} {shape}")


CACHED = """
import numpy as np, homfast
from homfast._backends import numba as backend
backend.is_available()
{before}
weight, grad = np.float32([[1, 2, 3]]), np.float32([[2, 4, 8]])
backend.sgd_update(weight, grad, 0.5, 0.0)
assert (weight == [[0, 0, -1]]).all()
kernel = backend._kernels[1].update_kernels(weight.dtype).sgd
print(sum(kernel.stats.cache_hits.values()))
"""


def test_kernels_come_from_the_cache_unless_something_changed(tmp_path):
    """Neither another processor's nor another source's."""

    def run(before="", **variables):
        return output(CACHED.format(before=before), NUMBA_CACHE_DIR=str(tmp_path), **variables)

    assert (run(), run()) == ("0", "1")
    assert run("backend._kernels[1].stamp = lambda: 1") == "0", "the kernel of other sources"
    assert run(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == "0", "of another processor"
    assert run() == "1"
    broken = sorted(tmp_path.rglob("*.nb*"))
    assert broken
    for path in broken:
        path.write_bytes(b"not a pickle")
    assert run() == "0", "compiled without a cache"


def test_a_processor_without_multiply_adds(tmp_path):
    """Products and sums that round one by one, in registers of 16 bytes."""
    code = """
import numpy as np, homfast
from homfast._backends.numba_kernels.machine import compiled_for
assert compiled_for() == (16, 16, False), compiled_for()
rng = np.random.default_rng(0)
for shape in ((1, 1, 1), (7, 300, 19), (50, 33, 64)):
    x = rng.integers(-9, 10, shape[:2]).astype(np.float32)
    weight = rng.integers(-9, 10, (shape[2], shape[1])).astype(np.float32)
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend="numba")
    z = x @ weight.T
    assert (y == np.maximum(z, 0)).all()
    assert (mask == np.packbits(z > 0, axis=-1, bitorder="little")).all()
print("done")
"""
    variables = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("every other processor here multiplies and adds in one step")
    assert output(code, NUMBA_CACHE_DIR=str(tmp_path), **variables) == "done"


def test_without_a_cache_kernels_are_compiled(kernels, monkeypatch, caplog):
    """No place to write to is an error of Numba's as it decorates, a full disk one as it saves."""
    from numba import types
    from numba.core import caching

    from homfast._backends.numba_kernels.compilation import compile_kernel

    def twice(x):
        return x + x

    def fails(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    for attribute, owner in (("_locator_classes", caching.CacheImpl), ("save", None)):
        with monkeypatch.context() as context:
            if owner:
                context.setattr(owner, attribute, [])
            else:
                context.setattr(caching.IndexDataCacheFile, attribute, fails)
            with caplog.at_level(logging.DEBUG, logger="homfast"):
                kernel = compile_kernel(twice, types.float32(types.float32))
            assert kernel(np.float32(3)) == 6
            assert "cache is not used" in caplog.text, attribute
            caplog.clear()


# Laziness ----------------------------------------------------------------------------------------


def test_numba_is_imported_when_it_is_chosen(native_engine):
    code = """
import sys, numpy as np, homfast
x = np.ones((20, 3), np.float32)
homfast.linear(x, x)
homfast.set_num_threads(2), homfast.get_num_threads(), homfast.ReLUNetwork.random((3, 2))(x)
assert "numba" not in sys.modules
assert homfast.backends()["numba"] == "available"  # who asks is told what is so
print("numba" in sys.modules)
"""
    assert output(code) == "True"


def test_what_is_missing_is_named():
    code = """
import sys
sys.modules["numba"] = None
import homfast, numpy as np
print(homfast.backends()["numba"])
x = np.ones((2, 2))
try:
    homfast.linear(x, x, backend="numba")
except RuntimeError as error:
    print(error)
"""
    first, second = output(code).splitlines()
    assert "homfast[numba]" in first
    assert first in second and "'numba' is not available" in second


PURE = """
import sys
sys.modules["homfast._native"] = None  # as where it was not built
import numpy as np, homfast
x = np.ones((300, 200), np.float32)
"""


def test_without_the_extension_numba_is_the_automatic_choice():
    code = """
assert (homfast.linear(x, x) == 200).all()
report = homfast.show_config("dicts")
assert report["backend"] == "numba" and report["numba"]["threads_from"] == "set_num_threads"
homfast.set_batch_invariant(True)
print(homfast.get_num_threads())
"""
    assert output(PURE + "homfast.set_num_threads(3)" + code) == "3"


@pytest.mark.parametrize("kind", ["ImportError", "OSError", "AttributeError"])
def test_a_numba_that_cannot_be_imported_gives_way_to_the_reference(tmp_path, kind):
    (tmp_path / "numba.py").write_text(f"raise {kind}('Numba needs NumPy 1.0 or less')")
    code = PURE.replace("import sys", f"import sys; sys.path.insert(0, {str(tmp_path)!r})", 1)
    code += """
assert (homfast.linear(x, x) == 200).all()
report = homfast.show_config("dicts")
print(report["backend"], report["backends"]["numba"])
"""
    assert output(code) == "reference Numba cannot be imported: Numba needs NumPy 1.0 or less"


def test_a_numba_that_may_not_compile_gives_way_to_the_reference():
    code = """
assert (homfast.linear(x, x) == 200).all()
print(homfast.backends()["numba"])
"""
    assert "NUMBA_DISABLE_JIT" in output(PURE + code, NUMBA_DISABLE_JIT="1")


def test_a_fork_waits_for_a_first_call_in_another_thread(tmp_path):
    """The child has no thread to release the locks of the import and of the compiler."""
    code = """
import os, signal, threading, time
f = lambda: homfast.linear_relu(x, x, backend="numba", return_mask=True)
caller = threading.Thread(target=f)
caller.start()
time.sleep(0.3)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    f()
    os._exit(0)
status = os.waitpid(pid, 0)[1]
caller.join()
print(status)
"""
    assert output(PURE + code, NUMBA_CACHE_DIR=str(tmp_path)) == "0"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HOMFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"HOMFAST_NUM_THREADS": None, "OMP_NUM_THREADS": "5"}, 5),
        ({"HOMFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "all"}, "len(os.sched_getaffinity(0))"),
    ],
    ids=str,
)
def test_number_of_threads_without_the_extension(variables, expected):
    code = f"import os; print(homfast.get_num_threads() == {expected})"
    assert output(PURE + code, **variables) == "True"


@pytest.mark.parametrize("value", ["0", "-1", "two", "2.5", "1e3", "99999999999999999999", "3 4"])
def test_bad_number_of_threads_without_the_extension(value):
    done = run_python(PURE + "homfast.get_num_threads()", HOMFAST_NUM_THREADS=value)
    assert done.returncode == 1, f"HOMFAST_NUM_THREADS={value} was taken"
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: HOMFAST_NUM_THREADS") and value in last, last


# Threads -----------------------------------------------------------------------------------------


LONG = """
import os, signal, threading, time
import numpy as np
import homfast
homfast.set_num_threads({count})
x = np.broadcast_to(np.ones(16384, np.float32), (400_000, 16384))  # seconds for any processor
weight = np.ones((64, 16384), np.float32)
homfast.linear(x[:50], weight, backend="numba")  # compiled
sent = []
def send():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
timer = threading.Timer(0.2, send)
try:
    timer.start()
    homfast.linear(x, weight, backend="numba")
except KeyboardInterrupt:
    taken = time.monotonic() - sent[0]
else:
    raise AssertionError("it took no notice")
assert taken < 1, f"KeyboardInterrupt came after {{taken:.2f}} s"
assert (homfast.linear(x[:50], weight, backend="numba") == 16384).all()
print("done")
"""


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c(count):
    assert output(LONG.format(count=count)) == "done"


def test_the_last_calls_of_a_process_compute():
    """No thread can be started any more while the interpreter ends."""
    code = """
import atexit, numpy as np, homfast
homfast.set_num_threads(3)
x = np.ones((500, 300), np.float32)
atexit.register(lambda: print((homfast.linear(x, x, backend="numba") == 300).all()))
"""
    assert output(code) == "True"
