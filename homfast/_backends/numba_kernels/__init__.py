"""Kernels compiled by Numba, for the backend of that name alone: importing them imports Numba.

`compilation` says how functions are compiled and cached, `vectors` has what LLVM is told by hand,
`machine` the sizes that follow from the processor. The others are one op or family each.
"""
