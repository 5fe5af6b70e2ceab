"""The engines of this machine, found as tests are collected."""

from homfast.selftesting.engines import REFERENCE, Engine, engines, targets

NATIVE_ENGINES = [engine for engine in engines() if engine.backend == "native"]
# Numba is imported, and compiles, in the tests that run on it; a broken one fails them.
NUMBA_ENGINES = [engine for engine in engines() if engine.backend == "numba"]

__all__ = ["NATIVE_ENGINES", "NUMBA_ENGINES", "REFERENCE", "Engine", "targets"]
