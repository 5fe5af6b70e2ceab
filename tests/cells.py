"""Layers decided by enumeration of their cells, and what is asked of a decision."""

import numpy as np
from scipy.optimize import linprog

from homfast.injectivity import is_injective


def cell_without_span(weight, bias):
    """Signs of a cell in which the active rows do not span, or None: cells are enumerated, depth
    first, one linear program each, but for those whose active rows span already."""
    kept = weight.any(axis=1)
    weight, bias = weight[kept], bias[kept]
    m, n = weight.shape
    rows = np.column_stack([weight, bias])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    stack = [((), np.zeros(n))]  # signs of the first rows, and a point that has them
    while stack:
        signs, point = stack.pop()
        k = len(signs)
        if k == m:
            return signs
        value = rows[k] @ np.append(point, 1.0)
        for sign in (1.0, -1.0):
            pattern = (*signs, sign)
            active = weight[: k + 1][np.array(pattern) > 0]
            if len(active) >= n and np.linalg.matrix_rank(active) == n:
                continue
            if sign * value > 1e-7:  # the point has this sign too
                stack.append((pattern, point))
                continue
            # The widest t with sign <row, (x, 1)> >= t, for x in a large box.
            matrix = -np.array(pattern)[:, None] * rows[: k + 1]
            answer = linprog(
                [*np.zeros(n), -1.0],
                A_ub=np.column_stack([matrix[:, :n], np.ones(k + 1)]),
                b_ub=-matrix[:, n],
                bounds=[(-1e3, 1e3)] * n + [(None, 1.0)],
            )
            if answer.status == 0 and answer.x[-1] > 1e-7:
                stack.append((pattern, answer.x[:n]))
    return None


def injective_by_enumeration(weight, bias=None):
    """No cell is left: in each the active rows span."""
    bias = np.zeros(len(weight)) if bias is None else bias
    if np.linalg.matrix_rank(weight) < weight.shape[1]:
        return False
    return cell_without_span(weight, bias) is None


def check_witness(weight, bias, witness):
    x0, x1 = witness
    bias = np.zeros(len(weight)) if bias is None else bias
    values = [np.maximum(weight @ x + bias, 0) for x in (x0, x1)]
    size = np.linalg.norm(weight) * max(np.linalg.norm(x0), np.linalg.norm(x1)) + np.abs(bias).max()
    assert np.linalg.norm(x0 - x1) > 1e-10 * np.linalg.norm(x0)
    assert np.abs(values[0] - values[1]).max() <= 1e-13 * size + 1e-8 * np.linalg.norm(x0 - x1)


def check_decision(weight, bias=None):
    found = is_injective(weight, bias)
    assert found.decision is not None
    assert found.decision == injective_by_enumeration(weight, bias)
    if not found:
        check_witness(weight, bias, found.witness)
