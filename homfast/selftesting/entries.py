"""Entries of seeded operators: those that were frozen, those of their definition, and of any tile.

The definition is the stream as the reference has it, times the scale that the docstrings promise:
no code of `homfast.measure` is in it. A change is a new version of the streams, never a new golden
value.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from homfast._backends import normal, rademacher, streams
from homfast._backends.sparse_sign import sparse_sign_columns
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits, ensure

TITLE = "entries of seeded operators: the same bits on every machine"
KEEPS_BITS = False
SEED = 0x0123456789ABCDEF
# SHA-256 of 20 unscaled rows, little endian, by family and dtype.
GOLDEN = {
    "circulant float32": "fbd7d2331a575f0c8909eab62c5dfe334b294aa1a8872d6591134cce9bfa42c5",
    "circulant float64": "15d100a6260201f4b763d02d30f26e436e0ccde27c8e0d6af279df63c8c97ad6",
    "circulant complex64": "162b0304773402a564db17fb9912062ed83a7b41f48b3d6845765525b5a35e66",
    "circulant complex128": "487456e2f023fbd73767f4a82a376dc41580cc20518160cbe6def4b603875f79",
    "gaussian float32": "b786dbe9ba65c1a38d6669c2badaac292fbae9ea92f504a5af24ce9b0f816558",
    "gaussian float64": "748849fdb7bb96e63ce09a5037a80c7244a46b22769699b46fb3d39b06478ca8",
    "gaussian complex64": "b987403fd6a22c3775fdd28373ff2cc1ff3b5ab56b2576ddc5e4891a34eb0086",
    "gaussian complex128": "db5f630968deda6467f1d637fb2d845ba7730ef3afb2c6d5a95446c6308b93f4",
    "rademacher float32": "3f84bef8ba10c5cef7e081f3b8ba154c2f1e638e0b7af69fe49f978ce5093688",
    "sparse float32": "a1ea5e4230032bc2940eb8c0ac4584cf8668a5f383f3ab242095dd19de4196c9",
    "hadamard float32": "864d0034950acdaf1293f28c5bb74d83a8d2cda20c0c2f81ed2514ad3931c025",
    "rank one float32": "aa90693176ab6bf0782bc07acd1073db96c3f9716d5f709e372bb00ad2444419",
    "rank one float64": "38bc3085c6229715b1eecd09f2f5ad0416a42421a4203378584c78b1504ec689",
    "rank one symm float32": "2edb0590fad8db9ec42b22d5a1c41edcf21d3e16c37cfdc04f227178788aea3a",
}
FAMILIES = ("Gaussian", "Rademacher", "SparseSign")
# Of philox4x32-10, from kat_vectors of the Random123 distribution: counter, key, words.
PUBLISHED = {
    "philox zeros": (
        (0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    "philox ones": (
        (0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    "philox pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}  # fmt: skip
FROZEN = (*PUBLISHED, *GOLDEN)
NONZEROS = 8  # in a column of SparseSign, or all of fewer rows
CHOICES = {"family": (*FROZEN, *FAMILIES)}
CORNERS = (
    *({"family": name, "m": 1, "n": 128, "first": 0} for name in PUBLISHED),
    *({"family": name, "m": 20, "n": 101, "first": 0} for name in GOLDEN),
    {"family": "Gaussian", "m": 50, "n": 257, "first": 3},
    {"family": "Rademacher", "m": 50, "n": 257, "first": 3},
    {"family": "SparseSign", "m": 50, "n": 257, "first": 3},
    {"family": "SparseSign", "m": 2, "n": 9, "first": 1},
)


def draw(rng, largest):
    m = sizes.size(rng, largest)
    family, n, first = str(rng.choice(FAMILIES)), sizes.size(rng, largest), int(rng.integers(m))
    return {"family": family, "m": m, "n": n, "first": first}


def check(engine, dtype, rng, family, m, n, first):
    if family in PUBLISHED:
        check_published(engine, family)
        return
    if family in GOLDEN:
        found = digest(golden_entries(family))
        ensure(found == GOLDEN[family], f"{engine} {family}: {found}, wanted {GOLDEN[family]}")
        return
    from homfast import measure

    seed = int(rng.integers(2**63))
    options = {"nonzeros_per_column": min(NONZEROS, m)} if family == "SparseSign" else {}
    options |= {"seed": seed, "dtype": dtype}
    kind = getattr(measure, family)
    op = kind(m, n, **options)
    whole = op.to_dense()
    case = f"{engine} {op!r}"
    unscaled, square = definition(family, m, n, seed, dtype)
    scaled = unscaled * dtype.type(1 / math.sqrt(square))
    assert_same_bits(whole, scaled, f"{case}, and its definition")
    plain = kind(m, n, **options, normalize=False).to_dense()
    assert_same_bits(plain, unscaled, f"{case} not scaled, and its definition")
    assert_same_bits(op.rows(first, m).to_dense(), whole[first:], f"{case} rows {first} to {m}")
    again = kind(m, n, **options, store=False)
    assert_same_bits(again.to_dense(), whole, f"{case} not stored")


def definition(family, m, n, seed, dtype):
    """The matrix before its scale, which is 1 over the root of the number beside it."""
    if family == "SparseSign":
        nonzeros = min(NONZEROS, m)
        where, signs = sparse_sign_columns(seed, m, nonzeros, range(n))
        matrix = np.zeros((m, n), dtype)
        matrix[where, np.arange(n)[:, None]] = signs
        return matrix, nonzeros
    if family == "Rademacher":
        matrix = np.empty((m, n), dtype)
        rademacher.fill(seed, streams.stream_word(streams.RADEMACHER), 0, 0, matrix)
        return matrix, m
    matrix = normals(streams.GAUSSIAN, m, n, seed, dtype, streams.COMPLEX_GAUSSIAN)
    return matrix, 2 * m if dtype.kind == "c" else m


def normals(stream, m, n, seed, dtype, of_complex=None):
    """Standard normal entries (m, n); complex ones have two such parts, of their own stream."""
    if dtype.kind == "c":
        real = np.dtype(f"f{dtype.itemsize // 2}")
        return normals(of_complex, m, 2 * n, seed, real).view(dtype)
    found = np.empty((m, n), dtype)
    normal.fill(seed, streams.stream_word(stream, dtype.itemsize), 0, 0, found)
    return found


def check_published(engine, name):
    """The words of a counter, as signs: the kernel gets any counter by its coordinates."""
    (block, low, high, stream), key, wanted = PUBLISHED[name]
    words = np.empty((1, 4), np.uint32)
    seed, row = key[1] << 32 | key[0], high << 32 | low
    engine.module.rademacher_words(seed, stream, row, 4 * block, words)
    assert_same_bits(words, np.array([wanted], np.uint32), f"{engine} {name}")


def digest(entries):
    return hashlib.sha256(entries.astype(entries.dtype.newbyteorder("<")).tobytes()).hexdigest()


def golden_entries(name):
    """What GOLDEN has the digest of."""
    from homfast import measure

    family, _, dtype = name.rpartition(" ")
    options = {"seed": SEED, "dtype": dtype, "normalize": False}
    if family == "circulant":
        return measure.Circulant(20, 101, **options).first_column
    if family == "rank one":
        return np.concatenate(measure.RankOne(20, (9, 7), **options).factors, axis=1)
    if family == "rank one symm":
        return measure.RankOne(20, (9, 9), symmetric=True, **options).factors[0]
    families = {
        "gaussian": measure.Gaussian,
        "rademacher": measure.Rademacher,
        "sparse": measure.SparseSign,
        "hadamard": measure.Hadamard,
    }
    return families[family](20, 101, **options).to_dense()
