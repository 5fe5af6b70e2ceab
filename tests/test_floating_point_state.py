"""MXCSR, or FPCR, belongs to the caller: put back, and what it does depends on no threads."""

import mxcsr
import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast

pytestmark = pytest.mark.skipif(not mxcsr.AVAILABLE, reason="MXCSR and FPCR are read on Linux")

MODES = {
    "flush": mxcsr.FLUSH,
    "denormals are zero": mxcsr.DENORMALS_ARE_ZERO,
    "both": mxcsr.FLUSH | mxcsr.DENORMALS_ARE_ZERO,
    "round up": mxcsr.ROUND_UP,
    "round down": mxcsr.ROUND_DOWN,
    "default": 0,
}


@pytest.fixture
def register():
    before = mxcsr.read()
    yield before
    mxcsr.write(before)


def test_the_instrument_sees_flushing(register):
    least = np.full(4, np.finfo(np.float32).smallest_subnormal, np.float32)
    assert (least + least).all()
    mxcsr.write(register | mxcsr.FLUSH | mxcsr.DENORMALS_ARE_ZERO)
    flushed = least + least
    mxcsr.write(register)
    assert not flushed.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 3])
def test_calls_put_it_back(engine, dtype, rng, register, mode, threads):
    if engine.target:
        homfast.set_num_threads(threads)
    x = rng.standard_normal((300, 257)).astype(dtype)
    weight = rng.standard_normal((129, 257)).astype(dtype)
    bad = x[:, :3]
    wanted = register | MODES[mode]
    try:
        mxcsr.write(wanted)
        y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
        after = [mxcsr.read()]
        homfast.linear_relu_backward(y, x, weight, mask, backend=engine.backend)
        after.append(mxcsr.read())
        homfast.linear(x[:2], weight, backend=engine.backend)
        after.append(mxcsr.read())
        try:
            homfast.linear(bad, weight, backend=engine.backend)
        except ValueError:
            after.append(mxcsr.read())
    finally:
        mxcsr.write(register)
    assert after == [wanted] * 4, f"{engine} {mode}: {[hex(a) for a in after]} not {wanted:#x}"


@pytest.mark.parametrize("mode", MODES)
def test_threads_compute_as_the_caller_does(bit_engine, dtype, rng, register, mode):
    """Workers in another mode than the caller would make bits depend on the thread count."""
    scale = float(np.sqrt(np.finfo(dtype).tiny))
    x = (scale * rng.standard_normal((300, 257))).astype(dtype)
    weight = (scale * rng.standard_normal((129, 257))).astype(dtype)
    mask = pack(rng.random((300, 129)) < 0.5)
    grad = (scale * rng.standard_normal((300, 129))).astype(dtype)
    results, backend = {}, bit_engine.backend
    try:
        for threads in (1, 2, 5):
            homfast.set_num_threads(threads)
            mxcsr.write(register | MODES[mode])
            y = homfast.linear(x, weight, backend=backend)
            gradients = homfast.linear_relu_backward(grad, x, weight, mask, backend=backend)
            mxcsr.write(register)
            results[threads] = y, *gradients
    finally:
        mxcsr.write(register)
    info = np.finfo(dtype)
    denormal = (np.abs(results[1][0]) < info.tiny) & (results[1][0] != 0)
    if mode == "default":
        assert denormal.any(), "the data show no denormals"
    for threads in (2, 5):
        for result, wanted in zip(results[threads], results[1], strict=True):
            assert_same_bits(result, wanted, f"{bit_engine} {dtype} {mode} {threads} threads")
