"""What only the emulated tile instructions (tests/emulation) can tell of the amx target."""

import ctypes

import numpy as np
import pytest
from processes import output

import homfast

tiles = ctypes.CDLL(None)
pytestmark = pytest.mark.skipif(
    not hasattr(tiles, "emulated_tiles_configured"), reason="AMX is not emulated here"
)

REFUSED = """
import homfast, numpy
print(homfast.get_target() != "amx")  # never by itself, refused or not
print("refused" in homfast.show_config("dicts")["native"]["targets"]["amx"])
try:
    homfast.set_target("amx")
except ValueError as error:
    print("refused" in str(error))
print(homfast.linear(numpy.ones((20, 20), numpy.float32), numpy.ones((3, 20), numpy.float32))[0, 0])
"""


def test_refused_permission_leaves_the_target_out():
    assert output(REFUSED, EMULATED_TILES="refused").split() == ["True"] * 3 + ["20.0"]


def test_permission_is_not_asked_for_at_import():
    code = (
        "import os\nos.environ.pop('EMULATED_TILES', None)\nimport homfast\n"
        "os.putenv('EMULATED_TILES', 'refused')\n"
        "from homfast._backends.native import _native\nprint('refused' in _native.targets()['amx'])"
    )
    assert output(code) == "True"


def test_tiles_are_released(rng):
    homfast.set_target("amx")
    homfast.set_num_threads(1)
    x = rng.standard_normal((70, 500)).astype(np.float32)
    for rows in (1, 20, 70):
        y = homfast.linear_relu(x[:rows], x[:40], precision="high")
        homfast.linear_relu_backward(y, x[:rows], x[:40], None)
        assert tiles.emulated_tiles_configured() == 0, f"{rows} rows"
