"""ONNX Runtime as a contender: forward only, on its CPU provider.

Idle threads of its pool spin for a while, which the measuring loop waits for, as for everybody's.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast.bench.arithmetic import is_bfloat16
from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender
from homfast.bench.peers import PeerUnavailable
from homfast.bench.threads import default_threads

onnx: Any = importlib.import_module("onnx")
onnxruntime: Any = importlib.import_module("onnxruntime")
_OPSET, _IR_VERSION = 17, 8  # what releases of 2022 read already
_threads: int | None = None


def set_threads(count: int) -> None:
    """Give `count` threads to the sessions that are made from now on."""
    global _threads
    _threads = count


class OnnxRuntimePeer:
    """A graph of ``Gemm`` and ``Relu`` nodes with all of its optimisations."""

    name = "onnxruntime"
    version = onnxruntime.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """The weight is an input, as it is for the others: its packing is inside of the clock."""
        return self._contender(data.x, [data.weight], {"weight0": data.weight}, last_linear=False)

    def networks_forward(self, data: NetworkData) -> Contender:
        """The weights are constants of the graph, packed when the session is made."""
        return self._contender(data.x, data.weights, {}, last_linear=True)

    def _contender(
        self,
        x: np.ndarray,
        weights: Sequence[np.ndarray],
        inputs: dict[str, np.ndarray],
        last_linear: bool,
    ) -> Contender:
        if is_bfloat16(x.dtype):
            raise PeerUnavailable("its provider for the CPU has no products of bfloat16")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads or default_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = _model(x, weights, tuple(inputs), last_linear)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        feed = {"x": x, **inputs}
        return Contender(self.name, lambda: session.run(None, feed))


def _model(
    x: np.ndarray, weights: Sequence[np.ndarray], inputs: Sequence[str], last_linear: bool
) -> Any:
    """The layers as nodes; weights that are not named in `inputs` are constants."""
    helper = onnx.helper
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    nodes, constants = [], []
    values = [helper.make_tensor_value_info("x", element, x.shape)]
    hidden = "x"
    for layer, weight in enumerate(weights):
        name, sums = f"weight{layer}", f"sums{layer}"
        if name in inputs:
            values.append(helper.make_tensor_value_info(name, element, weight.shape))
        else:
            constants.append(onnx.numpy_helper.from_array(weight, name))
        nodes.append(helper.make_node("Gemm", [hidden, name], [sums], transB=1))
        hidden = sums
        if layer < len(weights) - 1 or not last_linear:
            hidden = f"hidden{layer}"
            nodes.append(helper.make_node("Relu", [sums], [hidden]))
    shape = (len(x), len(weights[-1]))
    output = helper.make_tensor_value_info(hidden, element, shape)
    graph = helper.make_graph(nodes, "layers", values, [output], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
