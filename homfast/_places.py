"""Where arrays are: the module that knows how to handle those in CPU memory, or those on a GPU.

A public function asks once, of an argument that the short native way did not take, and goes on with
the functions of that module; so its checks and its calls of the backend are written once.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from homfast import _host_arrays as host
from homfast._backends.device_library import is_on_device

__all__ = ["host", "place_of"]


def place_of(*arrays: Any) -> Any:
    """`homfast._device_arrays` if one of the arrays is on a CUDA device, else `_host_arrays`."""
    for array in arrays:
        if type(array) is not np.ndarray and is_on_device(array):
            return _device()
    return host


def _device() -> ModuleType:
    from homfast import _device_arrays  # not with homfast: few calls need it

    return _device_arrays
