"""Which engines there are, and how one is chosen (README, Backends and targets)."""

import logging
import os

import numpy as np
import pytest
from engines import targets
from processes import output

import homfast
from homfast import _backends
from homfast._backends import native, numba
from homfast._backends._protocol import Backend

X, WEIGHT = np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]])


def test_native_extension_is_installed():
    """A failure where HOMFAST_REQUIRE_NATIVE=1, as in CI; else one skip that says what is lost."""
    required = os.environ.get("HOMFAST_REQUIRE_NATIVE") == "1"
    if native.is_available():
        available = {name for name, state in targets().items() if state == "available"}
        assert not required or available > {"scalar"}, f"nothing but scalar runs: {targets()}"
        return
    message = f"nothing ran on native: {native.why_unavailable()}"
    if required:
        pytest.fail(f"HOMFAST_REQUIRE_NATIVE=1 and {message}")
    pytest.skip(message)


def test_target_runs_here(compiled_target):
    """One skip for each target that was compiled and that this processor lacks."""
    state = targets()[compiled_target]
    if state != "available":
        with pytest.raises(ValueError, match=compiled_target):
            homfast.set_target(compiled_target)
        pytest.skip(f"nothing ran on target {compiled_target}: {state}")
    homfast.set_target(compiled_target)
    assert homfast.get_target() == compiled_target
    assert np.array_equal(homfast.linear(X, WEIGHT, backend="native"), [[11, 17]])


def test_best_target_is_the_default_and_none_returns_to_it(native_engine):
    chosen = (name for name, state in targets().items() if state == "available" and name != "amx")
    best = next(chosen)  # amx is taken by name only until it has run on hardware
    homfast.set_target(None)
    assert homfast.get_target() in {best, os.environ.get("HOMFAST_TARGET")}


@pytest.mark.parametrize("name", ["avx1024", "", "AVX2", "scalar "])
def test_unknown_target_says_what_is_possible(native_engine, name):
    before = homfast.get_target()
    with pytest.raises(ValueError, match="scalar"):
        homfast.set_target(name)
    assert homfast.get_target() == before


def test_backends_are_listed_best_first_with_reasons():
    listed = homfast.backends()
    order = ["native", "cuda", "numba", "cupy", "reference"]
    assert list(listed) == [name for name in order if name in _backends.NAMES]
    assert {"native", "numba", "cupy", "reference"} <= set(listed)
    assert listed["reference"] == "available"
    assert listed["native"] == "available" or "homfast._native" in listed["native"]


def test_every_backend_has_the_whole_protocol(engine):
    protocol = {n for n in vars(Backend) if callable(vars(Backend)[n]) and n[0] != "_"}
    missing = [n for n in protocol if not callable(getattr(engine.module, n, None))]
    assert not missing, f"{engine}: lacks {missing}"
    assert engine.module.name == engine.backend
    assert engine.module.is_available() and engine.module.why_unavailable() == ""
    assert engine.module.accepts(X)


def test_explicit_backend_works_or_raises():
    assert np.array_equal(homfast.linear(X, WEIGHT, backend="reference"), [[11, 17]])
    with pytest.raises(ValueError, match=r"native, .*reference"):
        homfast.linear(X, WEIGHT, backend="fastest")


def test_automatic_choice_is_visible(caplog, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic", None)
    monkeypatch.setattr(_backends, "short_way", _backends._first_call)  # chosen with it
    monkeypatch.setattr(_backends, "short_way_back", _backends._first_call_back)
    with caplog.at_level(logging.DEBUG, logger="homfast"):
        homfast.linear(X, WEIGHT)
        homfast.linear(X, WEIGHT)
    chosen = homfast.show_config("dicts")["backend"]
    assert [chosen in record.getMessage() for record in caplog.records] == [True], caplog.text
    first = next(name for name in _backends.CPU_NAMES if homfast.backends()[name] == "available")
    assert chosen == (os.environ.get("HOMFAST_BACKEND") or first)


def test_show_config_reports_engines(capsys):
    report = homfast.show_config("dicts")
    assert report["backends"] == homfast.backends()
    if targets():
        assert report["native"]["targets"] == targets()
        assert report["native"]["threads"] == homfast.get_num_threads()
        assert report["native"]["target"] == homfast.get_target()
    assert homfast.show_config() is None
    printed = capsys.readouterr().out
    assert homfast.__version__ in printed and "reference: available" in printed
    with pytest.raises(ValueError, match="mode"):
        homfast.show_config("json")


def test_without_native_every_setting_names_the_reason(monkeypatch):
    monkeypatch.setattr(native, "_native", None)
    monkeypatch.setattr(native, "_reason", "the extension is not here")
    monkeypatch.setattr(numba, "why_unavailable", lambda: "nor is Numba")
    for call in (
        homfast.get_target,
        homfast.get_num_threads,
        lambda: homfast.set_num_threads(1),
        lambda: homfast.set_target(None),
        lambda: homfast.set_batch_invariant(True),
        lambda: homfast.linear(X, WEIGHT, backend="native"),
    ):
        with pytest.raises(RuntimeError, match="the extension is not here"):
            call()
    with pytest.raises(RuntimeError, match="nor is Numba"):
        homfast.set_num_threads(1)
    assert homfast.backends()["native"] == "the extension is not here"
    assert "native" not in homfast.show_config("dicts")


def test_an_extension_that_cannot_be_loaded_says_why():
    """As on a processor that is too old: nothing is said of how homfast was installed."""
    code = """
import sys
class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name == "homfast._native":
            raise ImportError("this processor lacks sse4.1")
sys.meta_path.insert(0, Refuses())
import homfast
print(homfast.backends()["native"])
"""
    wanted = "the extension homfast._native cannot be loaded: this processor lacks sse4.1"
    assert output(code) == wanted


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (10**9, ValueError), (1.5, TypeError), ("2", TypeError)],
)
def test_bad_thread_counts(native_engine, value, error):
    before = homfast.get_num_threads()
    with pytest.raises(error, match=r"^n: "):
        homfast.set_num_threads(value)
    assert homfast.get_num_threads() == before


def test_thread_count_is_kept(native_engine):
    for count in (1, 2, 7, 64, 257):
        homfast.set_num_threads(count)
        assert homfast.get_num_threads() == count
        assert np.array_equal(homfast.linear(X, WEIGHT), [[11, 17]])


def test_names_are_strings_and_flags_are_bools(native_engine):
    with pytest.raises(TypeError, match=r"^name: "):
        homfast.set_target(2)
    with pytest.raises(TypeError, match=r"^enabled: "):
        homfast.set_batch_invariant("yes")
