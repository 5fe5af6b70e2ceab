"""Standard normal entries addressed by their coordinates: the specification of the stream.

An entry is a pure function of (stream, seed, row i, column j, dtype), of nothing else: not of the
shape, the tile, the thread or the device. Kernels (gaussian_block) repeat it to the bit. All
arithmetic is +, -, *, / and sqrt, each rounded once, in the order written; no contraction to FMA
(``-ffp-contract=off``), no libm. Constants are in the code below, as exact hexadecimal.

Words. ``w0 w1 w2 w3 = philox4x32(counter=(b, i mod 2^32, i div 2^32, id), key=(seed mod 2^32, seed
div 2^32))``, where ``id = class << 24 | version << 16 | itemsize`` tells streams apart (`measure`
numbers them), and b is the block of columns that share a counter: j div 4 for float32, j div 2 for
float64.

float32. (w0, w1) gives columns 4b, 4b + 1, and (w2, w3) columns 4b + 2, 4b + 3. Of a pair (a, c):
  1. t = int32(a | 1);  x = float(t) 2^-32;  u = 1 + x if t < 0 else x      u: uniform on (0, 1]
  2. k = (bits(u) - 0x3f3504f3) >> 23, arithmetic shift;  m = from_bits(bits(u) - (k << 23))
  3. f = x if k = 0 else m - 1     u = 2^k m, m in [sqrt(1/2), sqrt(2)); with k = 0, x = u - 1
  4. s = f / (2 + f);  z = s s;  p = (L2 z + L1) z + L0                       m = (1 + s)/(1 - s)
  5. e = float(k) (-2 ln 2) + s (p z - 4);  r = sqrt(e)                       e = -2 ln u
  6. y = float(int32((c & ~3) | 2)) 2^-32;  q = y y                           y in [-1/2, 1/2]
  7. sine = (((S3 q + S2) q + S1) q + S0) y                                   sin(pi y / 2)
     cosine = ((C2 q + C1) q + C0) q + 1                                      cos(pi y / 2)
  8. if c & 2, r changes sign;  entries r cosine, r sine, or r sine, r cosine if c & 1.
float64. a = w0 2^32 + w1 and c = w2 2^32 + w3 give columns 2b, 2b + 1. As above, but
  1. u = from_bits(0x3ff << 52 | a >> 12) - (1 - 2^-53), exact: a midpoint of 2^-52 cells
  2. k = (bits(u) - 0x3fe6a09e667f3bcd) >> 52, arithmetic;  m = from_bits(bits(u) - (k << 52))
  3. f = m - 1, exact;  4. seven terms;  6. y = from_bits(0x3ff << 52 | c >> 12 | 1) - 1.5, exact;
  7. seven terms each (cosine: six and the 1), Horner as above.

Why Box-Muller: two entries share one log, sqrt and sincos, with selects for branches: half the work
of an inverse CDF, whose tail needs a log and a sqrt for each entry too. Ziggurat branches and
rejects. The quadrant and the swap come from the two low bits of c, so the angle needs no reduction.
Step 3 keeps the relative accuracy of ln u at u -> 1, so that no entry is 0. Entries reach 6.66
(float32) and 8.57 (float64); polynomials are near-minimax, errors under 4e-8 and 6e-17.
Why own entries for float64: widened float32 ones would have 24 bits and be blind to rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from homfast._backends.philox import philox4x32

# Entries made at a time: the words and temporaries of a chunk stay in L2.
_CHUNK = 1 << 14

_constants = {
    # L: -2 ln((1 + s)/(1 - s)) = s (-4 + z P(z)), |s| <= 3 - 2 sqrt(2); highest power first
    # S: sin(pi y / 2) = y S(y^2); C: cos(pi y / 2) = 1 + y^2 C(y^2), |y| <= 1/2
    "L32": "-0x1.31e356p-1 -0x1.995eb6p-1 -0x1.55557ap+0",
    "S32": "-0x1.2d9302p-8 0x1.465e92p-4 -0x1.4abbbap-1 0x1.921fb6p+0",
    "C32": "-0x1.4ea9e2p-6 0x1.03b162p-2 -0x1.3bd3a2p+0",
    "L64": "-0x1.2f05cda5943fcp-2 -0x1.39a1b1e17f2c6p-2 -0x1.74663f2dbd70fp-2"
    " -0x1.c71c52086b082p-2 -0x1.24924941f1dbcp-1 -0x1.999999997fdafp-1 -0x1.5555555555592p+0",
    "S64": "0x1.e3eed5c514041p-25 -0x1.e30063a00aeb1p-19 0x1.50782fca388bcp-13"
    " -0x1.32d2cce2d535ap-8 0x1.466bc677586ffp-4 -0x1.4abbce625be41p-1 0x1.921fb54442d18p+0",
    "C64": "0x1.f3ef462563f22p-22 -0x1.a6ca00a155b43p-16 0x1.e1f4fbfc1722fp-11"
    " -0x1.55d3c7dcb6052p-6 0x1.03c1f081b14bep-2 -0x1.3bd3cc9be45a5p+0",
    "-2 ln 2, 32": "-0x1.62e43p+0",
    "-2 ln 2, 64": "-0x1.62e42fefa39efp+0",
}
_terms = {
    name: [(np.float32 if "32" in name else np.float64)(float.fromhex(c)) for c in text.split()]
    for name, text in _constants.items()
}


def fill(seed: int, stream: int, row: int, column: int, out: np.ndarray) -> None:
    """Write the entries of the block of `out`'s shape that begins at (row, column) into `out`.

    Parameters
    ----------
    seed : int in [0, 2^64)
    stream : int in [0, 2^32)
        The last word of each counter.
    row, column : int
        The coordinates of ``out[0, 0]``; any block gives the same entries.
    out : array, shape (rows, columns), float32 or float64
    """
    if not out.size:
        return
    width = 16 // out.itemsize  # entries of one counter
    pairs = _pairs_float32 if out.dtype == np.float32 else _pairs_float64
    rows, columns = range(row, row + out.shape[0]), range(column, column + out.shape[1])
    first, last = columns.start // width, -(-columns.stop // width)
    block_step = max(1, _CHUNK // width)
    for start in range(first, last, block_step):
        blocks = np.arange(start, min(start + block_step, last), dtype=np.uint64)
        left = max(columns.start, start * width)
        right = min(columns.stop, (start + blocks.size) * width)
        row_step = max(1, _CHUNK // (blocks.size * width))
        for top in range(rows.start, rows.stop, row_step):
            bottom = min(top + row_step, rows.stop)
            entries = _entries(blocks, range(top, bottom), stream, seed, pairs)
            out[top - row : bottom - row, left - column : right - column] = entries[
                :, left - start * width : right - start * width
            ]


def _entries(
    blocks: np.ndarray, rows: range, stream: int, seed: int, pairs: Callable[..., tuple]
) -> np.ndarray:
    """All entries of some blocks of columns, shape (rows, 4 or 2 * blocks)."""
    row = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
    words = philox4x32(
        blocks,
        row & np.uint64(0xFFFFFFFF),
        row >> np.uint64(32),
        stream,
        seed & 0xFFFFFFFF,
        seed >> 32,
    )
    return np.stack(pairs(*words), axis=-1).reshape(len(rows), -1)


def _pairs_float32(*words: np.ndarray) -> tuple[np.ndarray, ...]:
    w0, w1, w2, w3 = (w.astype(np.uint32) for w in words)
    return (*_pair_float32(w0, w1), *_pair_float32(w2, w3))


def _pair_float32(a: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, unit = np.float32(1), np.float32(2.0**-32)
    t = (a | np.uint32(1)).view(np.int32)
    x = t.astype(np.float32) * unit
    bits = np.where(t < 0, one + x, x).view(np.int32)
    k = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = (bits - (k << np.int32(23))).view(np.float32)
    f = np.where(k == 0, x, m - one)
    r = _radius(f, k.astype(np.float32), "32")
    r = (r.view(np.uint32) ^ (c & np.uint32(2)) << np.uint32(30)).view(np.float32)
    y = (c & ~np.uint32(3) | np.uint32(2)).view(np.int32).astype(np.float32) * unit
    return _on_circle(r, y, (c & np.uint32(1)) != 0, "32")


def _pairs_float64(
    w0: np.ndarray, w1: np.ndarray, w2: np.ndarray, w3: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    a = w0 << np.uint64(32) | w1
    c = w2 << np.uint64(32) | w3
    one = np.uint64(0x3FF << 52)
    u = (one | a >> np.uint64(12)).view(np.float64) - np.float64(1 - 2.0**-53)
    bits = u.view(np.int64)
    k = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    m = (bits - (k << np.int64(52))).view(np.float64)
    r = _radius(m - np.float64(1), k.astype(np.float64), "64")
    r = (r.view(np.uint64) ^ (c & np.uint64(2)) << np.uint64(62)).view(np.float64)
    y = (one | c >> np.uint64(12) | np.uint64(1)).view(np.float64) - np.float64(1.5)
    return _on_circle(r, y, (c & np.uint64(1)) != 0, "64")


def _radius(f: np.ndarray, k: np.ndarray, size: str) -> np.ndarray:
    """sqrt(-2 ln(2^k (1 + f))), steps 4 and 5."""
    s = f / (f.dtype.type(2) + f)
    z = s * s
    p = _horner(_terms["L" + size], z)
    return np.sqrt(k * _terms["-2 ln 2, " + size][0] + s * (p * z - f.dtype.type(4)))


def _on_circle(
    r: np.ndarray, y: np.ndarray, swap: np.ndarray, size: str
) -> tuple[np.ndarray, np.ndarray]:
    """Steps 7 and 8."""
    q = y * y
    sine = _horner(_terms["S" + size], q) * y
    cosine = _horner(_terms["C" + size], q) * q + y.dtype.type(1)
    return r * np.where(swap, sine, cosine), r * np.where(swap, cosine, sine)


def _horner(terms: list, x: np.ndarray) -> np.ndarray:
    result = terms[0] * x + terms[1]
    for term in terms[2:]:
        result = result * x + term
    return result
