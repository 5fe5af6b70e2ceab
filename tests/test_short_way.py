"""A call without backend=, precision= and out= is checked in C++; it gives what the long way gives.

The long way is what all other tests take, so bits are compared with it, and errors too.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast
from homfast import _backends

pytestmark = pytest.mark.usefixtures("automatic_is_native")
SHAPES = [(1, 1, 1), (1, 257, 3), (2, 3, 130), (5, 8, 8), (15, 16, 17), (16, 17, 15), (17, 9, 7),
          (33, 31, 65), (100, 300, 77), (0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)]  # fmt: skip


@pytest.fixture
def automatic_is_native(monkeypatch, native_engine):
    monkeypatch.delenv("HOMFAST_BACKEND", raising=False)
    monkeypatch.setattr(_backends, "_automatic", None)
    monkeypatch.setattr(_backends, "short_way", _backends._first_call)  # chosen with it
    monkeypatch.setattr(_backends, "short_way_back", _backends._first_call_back)
    assert _backends.automatic().name == "native"


def problem(rng, dtype, rows, features, columns):
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5).reshape(rows, (columns + 7) // 8)
    return x, weight, grad, mask


def results(x, weight, grad, mask, slope, **way):
    options = {"negative_slope": slope, **way}
    y, bits = homfast.linear_relu(x, weight, return_mask=True, **options)
    return {
        "linear": homfast.linear(x, weight, **way),
        "linear_relu with mask": y,
        "mask": bits,
        "linear_relu": homfast.linear_relu(x, weight, **options),
        "gradients": homfast.linear_relu_backward(grad, x, weight, mask, **options),
        "gradients of a linear layer": homfast.linear_relu_backward(grad, x, weight, None, **way),
        "grad_input": homfast.linear_relu_backward(grad, None, weight, mask, **options)[:1],
        "grad_weight": homfast.linear_relu_backward(grad, x, None, mask, **options)[1:],
        "neither": homfast.linear_relu_backward(grad, None, None, mask, **options)[:0],
    }


def assert_same_way(arguments, slope, case):
    short, long = results(*arguments, slope), results(*arguments, slope, backend="native")
    for name, result in short.items():
        pairs = [(result, long[name])]
        if isinstance(result, tuple):
            pairs = zip(result, long[name], strict=True)
        for one, other in pairs:
            assert type(one) is type(other), f"{name} {case}: {type(one)}, wanted {type(other)}"
            assert one.flags.writeable and one.flags.c_contiguous and one.flags.aligned
            assert_same_bits(one, other, f"{name} {case}")


@pytest.mark.parametrize("slope", [0, 0.0, 0.1, -1, np.float32(0.5)])
@pytest.mark.parametrize("invariant", [False, True])
def test_bits(native_engine, dtype, rng, slope, invariant):
    homfast.set_batch_invariant(invariant)
    for shape in SHAPES:
        arguments = problem(rng, dtype, *shape)
        assert_same_way(arguments, slope, f"{native_engine} {dtype} {shape} slope={slope}")


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "rows apart": lambda a: np.repeat(a, 2, axis=0)[::2],
    "rows reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "columns apart": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "unaligned": unaligned,
    "stride 0": lambda a: np.broadcast_to(a[:1], a.shape),
    "read-only": read_only,
    "subclass": lambda a: a.view(type("Tagged", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(native_engine, dtype, rng, layout):
    for shape in ((3, 5, 7), (20, 17, 33), (1, 9, 1)):
        arguments = problem(rng, dtype, *shape)
        case = f"{native_engine} {dtype} {shape} {layout}"
        for place in range(4):
            one = list(arguments)
            one[place] = LAYOUTS[layout](one[place])
            assert_same_way(one, 0.1, f"argument {place} {case}")
        assert_same_way([LAYOUTS[layout](a) for a in arguments], 0.1, f"all {case}")


@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (0, 3), (2, 1, 4)])
def test_leading_axes(native_engine, dtype, rng, lead):
    x, grad = (rng.standard_normal((*lead, n)).astype(dtype) for n in (7, 13))
    weight, mask = rng.standard_normal((13, 7)).astype(dtype), pack(rng.random((*lead, 13)) < 0.5)
    assert_same_way((x, weight, grad, mask), 0.1, f"{native_engine} {dtype} lead={lead}")


def test_special_values(native_engine, dtype, rng):
    info = np.finfo(dtype)
    values = np.array([np.nan, np.inf, -np.inf, 0, -0.0, info.tiny / 4, info.max, 1, -1], dtype)
    for shape in SHAPES[:9]:
        x, weight, grad, mask = problem(rng, dtype, *shape)
        for array in (x, weight, grad):
            array[...] = np.where(rng.random(array.shape) < 0.1, rng.choice(values), array)
        assert_same_way((x, weight, grad, mask), 0.0, f"{native_engine} {dtype} {shape} specials")


def test_thread_count_and_target_are_those_of_now(native_engine, dtype, rng):
    arguments = problem(rng, dtype, 300, 257, 129)
    for threads in (1, 2, 5):
        homfast.set_num_threads(threads)
        assert_same_way(arguments, 0.0, f"{native_engine} {dtype} {threads} threads")


def test_results_are_new_arrays(native_engine, dtype, rng):
    x, weight, _, _ = problem(rng, dtype, 5, 5, 5)
    first = homfast.linear(x, weight)
    kept = first.copy()
    second = homfast.linear(2 * x, weight)
    assert not np.may_share_memory(first, second)
    assert_same_bits(first, kept, "an earlier result was written to")
    assert not any(np.may_share_memory(first, a) for a in (x, weight))


def test_references_are_given_back(native_engine, dtype, rng):
    """10^4 calls, errors among them, leave the counts of references as they were."""
    import sys

    x, weight, grad, mask = problem(rng, dtype, 3, 5, 7)
    arrays = (x, weight, grad, mask)
    before = [sys.getrefcount(a) for a in arrays]
    for turn in range(2000):
        homfast.linear(x, weight)
        homfast.linear_relu(x, weight, return_mask=True)
        homfast.linear_relu_backward(grad, x, weight, mask)
        if turn % 10 == 0:
            for call in (
                lambda: homfast.linear(grad, weight),
                lambda: homfast.linear_relu_backward(grad, x, weight, mask[:2]),
            ):
                with pytest.raises(ValueError, match="got shape"):
                    call()
    assert [sys.getrefcount(a) for a in arrays] == before
