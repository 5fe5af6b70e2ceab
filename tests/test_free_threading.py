"""Without the GIL: homfast._native declares that it does without it, and import leaves it off."""

import sysconfig
from pathlib import Path

import pytest
from processes import output

BINDINGS = Path(__file__).parent.parent / "csrc" / "bindings" / "module.cpp"


def test_the_extension_declares_it():
    """Else its import turns the GIL on for the process. test_threads.py holds the promise."""
    if not BINDINGS.exists():
        pytest.skip("no csrc beside the tests: not a checkout")
    assert "PYBIND11_MODULE(_native, m, py::mod_gil_not_used())" in BINDINGS.read_text()


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL for good"
)
def test_import_leaves_the_gil_off():
    assert output(
        "import sys, numpy as np, homfast\n"
        "homfast.linear(np.ones((3, 4)), np.ones((5, 4)))\n"
        "print(sys._is_gil_enabled())"
    ).split() == ["False"]
