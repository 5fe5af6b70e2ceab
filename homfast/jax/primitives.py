"""A network's passes as primitives of JAX: shapes, derivatives, batches, lowering.

``homfast_network`` is the one that users' jaxprs show; a layer is a network of one weight. The
others are its passes: with what derivatives need kept, along a tangent, and back. The last two are
each other's transposes, so that reverse mode runs one native pass forward and one back. Their own
derivatives are JAX's operations (`composed`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from homfast.jax import checks, composed, kernels
from homfast.jax.batching import batch_backward, batch_rows, batch_tangent
from homfast.jax.lowering import call

Array = jax.Array
_config: Any = jax.config  # whose flags its type does not list

network_p = Primitive("homfast_network")  # x, *weights -> y
keep_p = Primitive("homfast_network_keep")  # x, *weights -> y, *hidden, *masks
# v and changes of weights, as far as `active`, *weights, *masks, *inputs -> change of y. Linear in
# the first ones; the layers' inputs are there if a weight changes.
tangent_p = Primitive("homfast_network_tangent")
# grad_output, *weights, *masks, *inputs -> gradient of x, *gradients of weights, as far as needed.
# `apart` keeps the entries of the first axis apart in those of weights. Linear in grad_output.
backward_p = Primitive("homfast_network_backward")
keep_p.multiple_results = backward_p.multiple_results = True


def _units(weights: Sequence[Any], last_relu: bool) -> Sequence[Any]:
    return weights if last_relu else weights[:-1]


def _network_shape(x: Any, *weights: Any, **_: Any) -> Any:
    return ShapedArray((*x.shape[:-1], weights[-1].shape[0]), x.dtype)


def _keep_shapes(x: Any, *weights: Any, last_relu: bool, hidden: bool, **_: Any) -> list[Any]:
    leading = x.shape[:-1]
    outputs = [ShapedArray((*leading, w.shape[0]), x.dtype) for w in weights[:-1] if hidden]
    masks = [
        ShapedArray((*leading, (w.shape[0] + 7) // 8), np.dtype(np.uint8))
        for w in _units(weights, last_relu)
    ]
    return [_network_shape(x, *weights), *outputs, *masks]


def _tangent_shape(*operands: Any, active: tuple[bool, ...], **_: Any) -> Any:
    count = len(active) - 1
    first = operands[sum(active)]
    last = operands[sum(active) + count - 1]
    like = operands[0] if active[0] else operands[-count]  # v, or the input of the first layer
    return ShapedArray((*like.shape[:-1], last.shape[0]), first.dtype)


def _backward_shapes(
    grad_output: Any, *operands: Any, layers: int, input_needed: bool, weights_needed: bool,
    apart: bool, **_: Any,
) -> list[Any]:  # fmt: skip
    weights, dtype = operands[:layers], grad_output.dtype
    leading = grad_output.shape[:1] if apart else ()
    found = []
    if input_needed:
        found.append(ShapedArray((*grad_output.shape[:-1], weights[0].shape[1]), dtype))
    if weights_needed:
        found += [ShapedArray((*leading, *w.shape), dtype) for w in weights]
    return found


# Derivatives ------------------------------------------------------------------------------------


def zero_along(value: Any) -> Any:
    """No change of `value`."""
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _is_zero(tangent: Any) -> bool:
    return type(tangent) is ad.Zero


def _network_jvp(primals: Any, tangents: Any, *, slope: float, last_relu: bool, precision: str):
    x, *weights = primals
    active = tuple(not _is_zero(t) for t in tangents)
    hidden = any(active[1:])
    options = {"slope": slope, "last_relu": last_relu, "precision": precision}
    y, *kept = keep_p.bind(x, *weights, hidden=hidden, **options)
    inner = len(weights) - 1 if hidden else 0
    inputs = [x, *kept[:inner]] if hidden else []
    moving = [t for t in tangents if not _is_zero(t)]
    if not moving:
        return y, zero_along(y)
    return y, tangent_p.bind(*moving, *weights, *kept[inner:], *inputs, active=active, **options)


def _keep_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
    outs = keep_p.bind(*primals, **params)
    count = len(primals) - 1
    inner = count - 1 if params["hidden"] else 0
    masks = outs[1 + inner :]

    def outputs(x: Array, *weights: Array) -> list[Array]:
        *hidden, y = composed.frozen(x, weights, masks, params["slope"])
        return [y, *hidden[:inner]]

    changes = _jvp_along(outputs, primals, tangents)
    return outs, [*changes, *(zero_along(m) for m in masks)]


def _jvp_along(function: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """The derivative of `function` along those of `tangents` that are not zero."""
    moving = [index for index, t in enumerate(tangents) if not _is_zero(t)]

    def of_moving(*values: Any) -> Any:
        merged = list(primals)
        for index, value in zip(moving, values, strict=True):
            merged[index] = value
        return function(*merged)

    _, changes = jax.jvp(of_moving, [primals[i] for i in moving], [tangents[i] for i in moving])
    return changes


def _composed_jvp(primitive: Primitive, function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(primals: Any, tangents: Any, **params: Any) -> Any:
        outs = primitive.bind(*primals, **params)
        return outs, _jvp_along(functools.partial(function, **params), primals, tangents)

    return rule


def _split(operands: Sequence[Any], layers: int, last_relu: bool) -> tuple[Any, Any, Any]:
    """Weights, masks, and the layers' inputs."""
    units = layers if last_relu else layers - 1
    weights, rest = operands[:layers], operands[layers:]
    return weights, rest[:units], rest[units:]


def composed_tangent(*operands: Any, active: tuple[bool, ...], slope: float, last_relu: bool, **_):
    """``homfast_network_tangent`` in JAX's operations."""
    moving = iter(operands[: sum(active)])
    v, *changes = (next(moving) if a else None for a in active)
    rest = operands[sum(active) :]
    weights, masks, inputs = _split(rest, len(active) - 1, last_relu)
    return composed.push(v, changes, weights, masks, inputs, slope)


def _composed_backward(grad_output: Any, *operands: Any, layers: int, last_relu: bool, **params):
    weights, masks, inputs = _split(operands, layers, last_relu)
    names = ("slope", "input_needed", "weights_needed", "apart")
    return composed.pull(grad_output, weights, masks, inputs, *(params[name] for name in names))


def _tangent_transpose(cotangent: Any, *operands: Any, active: tuple[bool, ...], **options: Any):
    count = sum(active)
    rest = operands[count:]
    nothing = [None] * len(rest)
    if _is_zero(cotangent):
        return [ad.Zero(o.aval) for o in operands[:count]] + nothing
    input_needed, weights_needed = active[0], any(active[1:])
    grads = backward_p.bind(
        cotangent, *rest, layers=len(active) - 1, input_needed=input_needed,
        weights_needed=weights_needed, apart=False, **options,
    )  # fmt: skip
    of_x, of_weights = grads[:1] if input_needed else [], grads[1 if input_needed else 0 :]
    wanted = [g for g, a in zip(of_weights, active[1:], strict=False) if a]
    return [*of_x, *wanted, *nothing]


def _backward_transpose(
    cotangents: Any, grad_output: Any, *operands: Any, layers: int, last_relu: bool, slope: float,
    precision: str, input_needed: bool, weights_needed: bool, apart: bool,
) -> list[Any]:  # fmt: skip
    nothing = [None] * len(operands)
    active = (input_needed, *[weights_needed] * layers)
    moving = [ad.instantiate_zeros(c) for c in cotangents]
    options: dict[str, Any] = {"slope": slope, "last_relu": last_relu, "precision": precision}
    if all(map(_is_zero, cotangents)):
        return [ad.Zero(grad_output.aval), *nothing]
    if not apart or not weights_needed:
        return [tangent_p.bind(*moving, *operands, active=active, **options), *nothing]

    weights = operands[:layers]
    push: Any = functools.partial(composed_tangent, active=active, **options)

    def of_entry(changes: Any, rest: Any) -> Array:
        return push(*changes, *weights, *rest)

    return [jax.vmap(of_entry)(moving, list(operands[layers:])), *nothing]


ad.primitive_jvps[network_p] = _network_jvp
ad.primitive_jvps[keep_p] = _keep_jvp
ad.primitive_jvps[tangent_p] = _composed_jvp(tangent_p, composed_tangent)
ad.primitive_jvps[backward_p] = _composed_jvp(backward_p, _composed_backward)
ad.primitive_transposes[tangent_p] = _tangent_transpose
ad.primitive_transposes[backward_p] = _backward_transpose


# Batches of calls -------------------------------------------------------------------------------

batching.primitive_batchers[network_p] = functools.partial(batch_rows, network_p)
batching.primitive_batchers[keep_p] = functools.partial(batch_rows, keep_p)
batching.primitive_batchers[tangent_p] = functools.partial(
    batch_tangent, tangent_p, composed_tangent
)
batching.primitive_batchers[backward_p] = functools.partial(batch_backward, backward_p)


# What computes ----------------------------------------------------------------------------------


def _structs(shapes: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in shapes]


def _compute_network(x: Array, *weights: Array, **options: Any) -> Array:
    shapes = _structs([_network_shape(x, *weights)])
    options |= {"layers": len(weights), "keep": False, "hidden": False}
    return call("forward", kernels.forward, shapes, (x, *weights), **options)[0]


def _compute_keep(x: Array, *weights: Array, **options: Any) -> list[Array]:
    shapes = _structs(_keep_shapes(x, *weights, **options))
    options |= {"layers": len(weights), "keep": True}
    return call("forward", kernels.forward, shapes, (x, *weights), **options)


def _compute_tangent(*operands: Array, active: tuple[bool, ...], **options: Any) -> Array:
    if any(active[1:]):
        return composed_tangent(*operands, active=active, **options)
    shapes = _structs([_tangent_shape(*operands, active=active)])
    layers = len(active) - 1
    return call("tangent", kernels.tangent, shapes, operands, layers=layers, **options)[0]


def _compute_backward(grad_output: Array, *operands: Array, **options: Any) -> list[Array]:
    shapes = _structs(_backward_shapes(grad_output, *operands, **options))
    options["parts"] = grad_output.shape[0] if options["apart"] else 1
    return call("backward", kernels.backward, shapes, (grad_output, *operands), **options)


def register(primitive: Primitive, shapes: Callable[..., Any], compute: Callable[..., Any]) -> None:
    """Give `primitive` its shapes and what computes it: compiled, and called by itself."""

    @functools.lru_cache(maxsize=256)
    def compiled(params: tuple[tuple[str, Any], ...]) -> Any:
        return jax.jit(functools.partial(primitive.bind, **dict(params)))

    def evaluate(*operands: Any, **params: Any) -> Any:
        program = compiled(tuple(params.items()))
        if not _config.jax_disable_jit:
            return program(*operands)
        with jax.disable_jit(False):  # else the program would bind the primitive, which comes here
            return program(*operands)

    primitive.def_abstract_eval(shapes)
    primitive.def_impl(evaluate)
    lower = mlir.lower_fun(compute, multiple_results=primitive.multiple_results)
    mlir.register_lowering(primitive, checks.refuse_platform)
    mlir.register_lowering(primitive, lower, platform="cpu", cacheable=False)


register(network_p, _network_shape, _compute_network)
register(keep_p, _keep_shapes, _compute_keep)
register(tangent_p, _tangent_shape, _compute_tangent)
register(backward_p, _backward_shapes, _compute_backward)
