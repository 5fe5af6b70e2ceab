"""``homfast selftest``: it passes here, needs NumPy alone, and sees what is broken."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import mxcsr
import numpy as np
import pytest
from processes import environment_of_tests

import homfast
from homfast import _backends
from homfast._backends import native, reference
from homfast.cli import main
from homfast.measure import SparseSign, seeded
from homfast.measure.fourier import _Orthonormal
from homfast.selftesting import (
    agreement,
    entries,
    float_modes,
    ideas,
    operators,
    sizes,
    threads,
)
from homfast.selftesting.cases import DTYPES, Case, cases, run
from homfast.selftesting.engines import REFERENCE, computing_on, engines
from homfast.selftesting.report import Tally

AGREE = {"rows": 16, "features": 3, "columns": 5}


def corners(idea, engine, dtype="float32"):
    """Those cases of an idea that always come."""
    first = next(cases(0, 130, [idea], [engine]))
    return [case for case in first if case.dtype == dtype]


@pytest.mark.parametrize("idea", ideas.IDEAS)
def test_every_idea_holds_on_every_engine(engine, dtype, idea):
    rounds = cases(7, 130, [idea], [engine])
    made = [case for _ in range(2) for case in next(rounds) if case.dtype == dtype.name]
    if not engine.keeps_bits and ideas.load(idea).KEEPS_BITS:
        assert not made
        return
    assert made
    for case in made:
        outcome = run(case)
        undecided = idea in ("agreement", "threads", "callers", "process")
        wanted = ("passed", "not run") if undecided else ("passed",)
        assert outcome.status in wanted, f"{outcome.message}\n{case.line()}"


def test_a_case_is_a_line_and_repeats(capsys):
    for case in corners("bounds", REFERENCE):
        assert Case.parse(case.line()) == case
        assert Case.parse(json.dumps(run(case).as_dict())) == case
        assert run(case).ratio == run(case).ratio
    assert main(["selftest", "--repro", case.line()]) == 0
    assert capsys.readouterr().out.startswith("passed")


def test_engines_get_the_same_data(monkeypatch):
    seen = []
    idea = ideas.load("bounds")
    monkeypatch.setattr(idea, "check", lambda engine, dtype, rng, **_: seen.append(rng.random()))
    first = [case for case in next(cases(3, 130, ["bounds"])) if case.dtype == "float32"]
    for case in first:
        run(case)
    assert len(set(seen)) == len(idea.CORNERS) and len(seen) > len(idea.CORNERS)


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", "7", '{"idea": "bounds"}'])
def test_what_is_no_case_is_one_line(capsys, line):
    assert main(["selftest", "--repro", line]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("homfast selftest: repro: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [("idea", "wishes"), ("engine", "abacus"), ("dtype", "int8"), ("parameters", [1])],
)
def test_a_case_that_is_not_here_is_one_line(capsys, field, value):
    case = corners("bounds", REFERENCE)[0]._replace(**{field: value})
    assert main(["selftest", "--repro", case.line()]) == 2
    assert field in capsys.readouterr().err


@pytest.mark.parametrize(
    ("idea", "field", "value"),
    [
        ("bounds", "seed", "abc"),
        ("bounds", "seed", [-1]),
        ("bounds", "seed", [0.5]),
        ("bounds", "seed", [None]),
        ("bounds", "seed", [True]),
        ("bounds", "seed", []),
        ("bounds", "seed", 3),
        ("bounds", "engine", ["reference"]),
        ("bounds", "idea", None),
        ("bounds", "dtype", {}),
        ("bounds", "rows", -1),
        ("bounds", "rows", "3"),
        ("bounds", "rows", None),
        ("bounds", "rows", 2.5),
        ("bounds", "rows", True),
        ("bounds", "slope", "steep"),
        ("bounds", "slope", float("nan")),
        ("bounds", "kind", "kind"),
        ("special_values", "value", "NaN"),
        ("scaling", "widths", 7),
        ("scaling", "widths", [7]),
        ("scaling", "widths", [7, -1]),
        ("scaling", "power", "x"),
        ("process", "mode", "sideways"),
        ("operators", "store", 1),
        ("operators", "family", "Cauchy"),
        ("refusals", "call", "me"),
    ],
)
def test_a_case_of_wrong_values_is_one_line(capsys, idea, field, value):
    case = json.loads(corners(idea, REFERENCE)[0].line())
    (case if field in case else case["parameters"])[field] = value
    assert main(["selftest", "--repro", json.dumps(case)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"homfast selftest: repro: {field}: got ") and not captured.out


@pytest.mark.parametrize("change", [{"rows": None}, {"more": 1}])
def test_parameters_are_those_of_the_idea(capsys, change):
    case = corners("bounds", REFERENCE)[0]
    parameters = case.parameters | change
    case = case._replace(parameters={k: v for k, v in parameters.items() if v is not None})
    assert main(["selftest", "--repro", case.line()]) == 2
    assert "repro: parameters: got" in capsys.readouterr().err


@pytest.mark.parametrize("idea", ideas.IDEAS)
def test_every_drawn_case_is_parsed(idea):
    rounds = cases(11, 257, [idea], engines()[:1])
    for _ in range(100):
        for case in next(rounds):
            assert Case.parse(case.line()) == case


@pytest.mark.parametrize("arguments", [["--full"], ["--seconds", "3"], ["--seed", "1"]])
def test_what_a_line_has_already_is_refused(capsys, arguments):
    assert main(["selftest", "--repro", corners("bounds", REFERENCE)[0].line(), *arguments]) == 2
    assert f"repro: got {arguments[0]} too" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--seconds", "nan"], ["--seconds", "-1"], ["--seed", "-1"]])
def test_values_out_of_range_are_one_line(capsys, arguments):
    assert main(["selftest", *arguments]) == 2
    assert "wanted" in capsys.readouterr().err


# What it must see ---------------------------------------------------------------------------------


def last_feature_dropped(original):
    return lambda x, weight, out, precision="highest": original(x[:, :-1], weight[:, :-1], out)


def one_bit_off(original):
    def linear(x, weight, out, precision="highest"):
        original(x, weight, out)
        out[...] = np.nextafter(out, np.inf)

    return linear


def a_row_depends_on_the_batch(original):
    def linear(x, weight, out, precision="highest"):
        original(x, weight, out)
        if len(x) % 2:
            out[-1:] = np.nextafter(out[-1:], np.inf)

    return linear


def zeros_are_skipped(original):
    def linear(x, weight, out, precision="highest"):
        with np.errstate(invalid="ignore"):
            original(np.where(np.isfinite(x), x, 0), np.where(np.isfinite(weight), weight, 0), out)

    return linear


def half_precision(original):
    def linear(x, weight, out, precision="highest"):
        # As on a matrix unit: eight bits of each operand.
        cut = [
            (a.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
            for a in (x, weight)
        ]
        original(cut[0].astype(x.dtype), cut[1].astype(x.dtype), out)

    return linear


def denormals_are_zero(original):
    def linear(x, weight, out, precision="highest"):
        original(x, weight, out)
        out[np.abs(out) < np.finfo(out.dtype).tiny] = 0

    return linear


def nothing_is_checked(original):
    def linear(x, weight, out, precision="highest"):
        original(x, weight, out)
        np.seterr(over="raise")

    return linear


@pytest.mark.parametrize(
    ("fault", "idea"),
    [
        (last_feature_dropped, "exact_integers"),
        (last_feature_dropped, "bounds"),
        (half_precision, "bounds"),
        (one_bit_off, "exact_integers"),
        (one_bit_off, "layouts"),
        (zeros_are_skipped, "special_values"),
        (denormals_are_zero, "special_values"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_broken_product_is_seen(monkeypatch, capsys, fault, idea):
    """`linear_relu` of the reference uses `linear`, so that both are broken."""
    monkeypatch.setattr(reference, "linear", fault(reference.linear))
    failed = [o for o in map(run, corners(idea, REFERENCE)) if o.status == "failed"]
    assert failed, f"{idea} did not see {fault.__name__}"
    assert main(["selftest", "--repro", failed[0].case.line()]) == 1
    assert failed[0].message in capsys.readouterr().out


def test_a_row_that_depends_on_its_batch_is_seen(monkeypatch, native_engine):
    module, fault = native_engine.module, a_row_depends_on_the_batch
    monkeypatch.setattr(module, "linear", fault(module.linear))
    monkeypatch.setattr(module, "linear_relu", broken_relu(fault, module.linear_relu))
    assert any(run(case).status == "failed" for case in corners("batches", native_engine))


def test_a_network_is_asked_as_it_is_by_default(monkeypatch, native_engine):
    """That its rows depend on no batch also where nothing was set."""
    call = homfast.ReLUNetwork.__call__

    def broken(net, x):
        y = call(net, x)
        if len(x) % 2 and not native._native.get_batch_invariant():
            y[-1:] = np.nextafter(y[-1:], np.inf)
        return y

    monkeypatch.setattr(homfast.ReLUNetwork, "__call__", broken)
    found = [run(case) for case in corners("batches", native_engine)]
    assert any("network" in outcome.message for outcome in found)


@pytest.mark.parametrize("count", threads.COUNTS)
def test_results_of_some_number_of_threads_are_seen(monkeypatch, native_engine, count):
    original = native_engine.module.linear_relu

    def broken(x, weight, negative_slope, out, mask, precision="highest"):
        original(x, weight, negative_slope, out, mask, precision)
        if homfast.get_num_threads() == count:
            out[-1:] = np.nextafter(out[-1:], np.inf)

    monkeypatch.setattr(native_engine.module, "linear_relu", broken)
    case = corners("threads", native_engine)[0]
    assert f"{count} threads" in run(case).message


def test_threads_are_given_work():
    """Most cases of the long form have enough for all counts."""
    path = Path(__file__).parent.parent / "csrc/core/parallel.cpp"
    if path.is_file():
        assert f"kMultiplyAddsPerThread = {sizes.WORK_OF_A_THREAD // 1000}e3;" in path.read_text()
    rng = np.random.default_rng(5)
    drawn = [threads.draw(rng, 257) for _ in range(300)]
    worth = [sizes.threads_worth(**shape) for shape in drawn]
    assert 0.75 < np.mean(np.array(worth) >= max(threads.COUNTS)) < 0.95
    assert min(worth) < 2 and max(worth) < 120 and max(max(d.values()) for d in drawn) < 6000
    for name in ("rows", "features", "columns"):
        assert min(shape[name] for shape in drawn) <= 3
    small = [sizes.threads_worth(**threads.draw(rng, 130)) for _ in range(300)]
    assert 0.2 < np.mean(np.array(small) >= 2) < 0.6


@pytest.mark.parametrize("idea", ["threads", "callers"])
def test_what_is_too_small_for_threads_does_not_count(engine, idea):
    case = corners(idea, engine)[-1] if engine.keeps_bits else None
    if case:
        assert run(case).status == "not run" and "second thread" in run(case).message


def test_targets_that_disagree_are_seen(monkeypatch):
    """As one that does not fuse would, if it were taken for one that does."""
    apart = [engine for engine in engines() if engine.keeps_bits and not agreement.fuses(engine)]
    if not apart or not agreement.fuses(engines()[0]):
        pytest.skip("all engines of this machine fuse, or none does")
    monkeypatch.setattr(agreement, "fuses", lambda engine: True)
    assert any(run(case).status == "failed" for case in corners("agreement", apart[0]))


def broken_relu(fault, original):
    def linear_relu(x, weight, negative_slope, out, mask, precision="highest"):
        fault(lambda x, weight, out: original(x, weight, negative_slope, out, mask, precision))(
            x, weight, out
        )

    return linear_relu


def test_a_changed_process_is_seen(monkeypatch):
    kept = np.geterr()
    try:
        monkeypatch.setattr(reference, "linear", nothing_is_checked(reference.linear))
        found = [run(case) for case in corners("process", REFERENCE)]
    finally:
        np.seterr(**kept)
    assert any("errstate" in outcome.message for outcome in found)


needs_glibc = pytest.mark.skipif(
    not mxcsr.AVAILABLE or platform.libc_ver()[0] != "glibc", reason="by fenv_t of glibc"
)


@needs_glibc
def test_the_mode_is_set_and_put_back():
    before = mxcsr.read()
    assert all(map(float_modes.available, ("default", "flush", "up", "down", "towards zero")))
    least = np.full(4, np.finfo(np.float32).smallest_subnormal, np.float32)
    with float_modes.computing_in("flush"):
        assert mxcsr.read() == before | mxcsr.FLUSH == float_modes.control()
        assert not (least + least).any()
    with float_modes.computing_in("down"):
        assert mxcsr.read() == before | mxcsr.ROUND_DOWN
    with float_modes.computing_in("up"):
        assert mxcsr.read() == before | mxcsr.ROUND_UP
    with float_modes.computing_in("default"):
        assert mxcsr.read() == before
    assert mxcsr.read() == before == float_modes.control() and (least + least).all()


@needs_glibc
def test_bits_of_the_callers_mode_are_seen(monkeypatch, native_engine):
    """As kernels would have them that kept the caller's mode."""
    original = native_engine.module.linear_relu

    def broken(x, weight, negative_slope, out, mask, precision="highest"):
        original(x, weight, negative_slope, out, mask, precision)
        out *= out.dtype.type(1.0000001)

    monkeypatch.setattr(native_engine.module, "linear_relu", broken)
    found = {case.parameters["mode"]: run(case) for case in corners("process", native_engine)}
    assert found["default"].status == "passed"
    assert all("result 0" in found[mode].message for mode in ("flush", "up"))


def test_a_mode_that_cannot_be_set_is_not_run(monkeypatch):
    monkeypatch.setattr(float_modes, "_register", None)
    found = [run(case) for case in corners("process", REFERENCE)]
    assert [outcome.status for outcome in found][:3] == ["passed", "passed", "not run"]


def test_an_error_that_names_another_argument_is_seen(monkeypatch):
    def linear(x, *arguments, **options):
        raise ValueError("weight: got what is not exactly wanted")

    monkeypatch.setattr(homfast, "linear", linear)
    found = {c.parameters["call"]: run(c).message for c in corners("refusals", REFERENCE)}
    assert "does not begin with 'x: '" in found["features differ"]
    assert "does not begin with 'backend: '" in found["an unknown backend"]


def fails(idea, engine):
    """Whether some case that every run begins with does."""
    return any(run(case).status == "failed" for case in corners(idea, engine))


def of_result(change):
    """A method whose result is changed by that."""
    return lambda original: lambda *arguments: change(original(*arguments))


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("vjp", lambda found: (found[0], lambda g: (found[1](g)[0] * 1.01, found[1](g)[1]))),
        ("vjp", lambda found: (found[0], lambda g: (found[1](g)[0], [-w for w in found[1](g)[1]]))),
        ("jvp", lambda found: (found[0], found[1] * 1.01)),
    ],
    ids=["gradient of the input", "gradients of the weights", "tangent"],
)
def test_wrong_derivatives_of_a_network_are_seen(monkeypatch, method, fault):
    broken = of_result(fault)(getattr(homfast.ReLUNetwork, method))
    monkeypatch.setattr(homfast.ReLUNetwork, method, broken)
    assert fails("network_bounds", REFERENCE)


def test_wrong_masks_of_a_network_are_seen(monkeypatch):
    def broken(*arguments):
        found = linearize(*arguments)
        found._masks[0][:, 0] ^= 1
        return found

    linearize = homfast.ReLUNetwork.linearize
    monkeypatch.setattr(homfast.ReLUNetwork, "linearize", broken)
    assert fails("network_bounds", REFERENCE)


def family_corners(idea, family, engine=REFERENCE):
    return [case for case in corners(idea, engine) if case.parameters["family"] == family]


def made(family, dtype="float64"):
    """Its operator, as the self-test makes it."""
    return operators.make(family, 23, 37, 1, np.dtype(dtype), True, np.random.default_rng(1)).op


@pytest.mark.parametrize("family", operators.FAMILIES)
def test_operators_that_are_not_their_formula_are_seen(monkeypatch, family):
    """Both products scaled, or the signal reversed, are a matrix with its adjoint, but another."""
    kind, cases_of_it = type(made(family)), family_corners("operators", family)
    for change in (lambda rows: rows * -3, lambda rows: np.flip(rows, -1)):
        with monkeypatch.context() as patch:
            forward, adjoint = kind._forward_rows, kind._adjoint_rows

            def broken_forward(op, rows, out, *, forward=forward, change=change):
                forward(op, np.ascontiguousarray(change(rows)), out)

            def broken_adjoint(op, rows, out, *, adjoint=adjoint, change=change):
                adjoint(op, rows, out)
                out[...] = change(out.copy())

            patch.setattr(kind, "_forward_rows", broken_forward)
            patch.setattr(kind, "_adjoint_rows", broken_adjoint)
            assert {run(case).status for case in cases_of_it} == {"failed"}


@pytest.mark.parametrize("family", operators.FAMILIES)
def test_rows_of_operators_that_depend_on_the_batch_are_seen(monkeypatch, family):
    """By a bit, which is within the bound."""
    engine = engines()[0]
    if not engine.keeps_bits:
        pytest.skip("no engine of this machine promises bits")
    kind, (case, *_) = type(made(family)), family_corners("operators", family, engine)
    for method, words in (("_forward_rows", ": row"), ("_adjoint_rows", ": adjoint, row")):
        with monkeypatch.context() as patch:
            original = getattr(kind, method)

            def broken(op, rows, out, *, original=original):
                original(op, rows, out)
                if len(rows) <= 2:  # a row alone, of each of two operators
                    out.real[...] = np.nextafter(out.real, out.real.dtype.type(9))

            patch.setattr(kind, method, broken)
            found = run(case)
            assert found.status == "failed" and found.message.startswith(words[2:]), found.message


def test_every_linear_operator_is_asked():
    def kinds(kind):
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    concrete = {
        kind
        for kind in kinds(homfast.measure.Operator)
        if kind.__module__.startswith("homfast.") and not kind.__abstractmethods__
    }
    found = {type(made(family)) for family in operators.FAMILIES}
    assert {kind for kind in concrete if not kind.__name__.startswith("_")} == found
    for family in operators.FAMILIES:
        dtypes = {made(family, dtype).dtype for dtype in DTYPES}
        complex_one = family in operators.COMPLEX or family in operators.ONLY_COMPLEX
        assert dtypes == set(map(np.dtype, ("c8", "c16") if complex_one else ("f4", "f8"))), family


def owner(engine, name):
    """The backend that has an op: what others lack is the reference's."""
    return engine.module if name in vars(engine.module) else reference


@pytest.mark.parametrize("family", ["Hadamard", "Cosine", "Fourier", "Circulant"])
def test_other_rows_of_a_transform_are_seen(monkeypatch, engine, family):
    module = owner(engine, "row_permutation")
    change = of_result(lambda found: found[::-1].copy())
    monkeypatch.setattr(module, "row_permutation", change(module.row_permutation))
    for case in family_corners("operators", family, engine):
        assert run(case).status == "failed"


def scale_of_one_more(original):
    """As if m were m + 1 in the scale: 1/sqrt(m), or sqrt(n/m)."""
    return lambda op: original(op) * np.sqrt(op._m / (op._m + 1))


SCALED = ("Gaussian", "Gaussian, complex", "Rademacher", "SparseSign", "Hadamard", "Cosine",
          "Fourier", "Circulant", "Circulant, complex", "RankOne", "RankOne, symmetric", "rows",
          "Kronecker", "SeedBatch")  # fmt: skip


@pytest.mark.parametrize("family", SCALED)
def test_a_wrong_scale_of_operators_is_seen(monkeypatch, engine, family):
    """Of the matrix and both products, which agree with one another."""
    cases_of_it = family_corners("operators", family, engine)
    assert {run(case).status for case in cases_of_it} == {"passed"}
    for kind in (seeded.SeededOperator, SparseSign, _Orthonormal):
        monkeypatch.setattr(kind, "_scaling", scale_of_one_more(kind._scaling))
    for outcome in map(run, cases_of_it):
        assert outcome.status == "failed" and "beyond the bound" in outcome.message


@pytest.mark.parametrize("family", entries.FAMILIES)
def test_a_wrong_scale_of_entries_is_seen(monkeypatch, engine, family):
    kind = getattr(homfast.measure, family)
    monkeypatch.setattr(kind, "_scaling", scale_of_one_more(kind._scaling))
    for outcome in map(run, family_corners("entries", family, engine)):
        assert outcome.status == "failed" and "its definition" in outcome.message


@pytest.mark.parametrize("family", ["Gaussian", "Rademacher"])
def test_a_scale_of_what_is_not_scaled_is_seen(monkeypatch, family):
    original = seeded.SeededOperator._scaling
    monkeypatch.setattr(
        seeded.SeededOperator, "_scaling", lambda op: original(op) if op._normalize else 1.25
    )
    (outcome,) = map(run, family_corners("entries", family))
    assert outcome.status == "failed" and "not scaled, and its definition" in outcome.message


@pytest.mark.parametrize(
    ("block", "family"),
    [
        ("gaussian_block", "Gaussian"),
        ("gaussian_block", "Gaussian, complex"),
        ("gaussian_block", "RankOne"),
        ("gaussian_block", "VStack"),
        ("rademacher_block", "Rademacher"),
    ],
)
def test_one_wrong_entry_is_seen(monkeypatch, engine, block, family):
    """On every engine: what operators are compared with is no code of an engine's module."""
    module = owner(engine, block)
    original = getattr(module, block)

    def broken(seed, stream, row, column, out):
        original(seed, stream, row, column, out)
        if out.size > 1:
            out[-1, -1] *= -1

    monkeypatch.setattr(module, block, broken)
    stored = family_corners("operators", family, engine)[0]
    assert stored.parameters["store"] and run(stored).status == "failed"
    for case in family_corners("entries", family, engine):
        assert run(case).status == "failed"


def test_another_order_of_sums_from_strides_is_seen(monkeypatch, native_engine):
    original = homfast.linear_relu

    def broken(x, weight, **options):
        y, mask = original(x, weight, **options)
        if not x.flags.c_contiguous and not np.array_equal(y, np.round(y)):
            y[...] = np.nextafter(y, np.inf)
        return y, mask

    monkeypatch.setattr(homfast, "linear_relu", broken)
    assert fails("layouts", native_engine)


@pytest.mark.parametrize("family", entries.FAMILIES)
def test_other_entries_than_those_of_the_reference_are_seen(monkeypatch, native_engine, family):
    """All of them: their golden hashes see fewer sizes."""
    kind = getattr(homfast.measure, family)
    original = kind.to_dense

    def broken(op):
        found = original(op)
        if _backends._automatic is not reference and op.shape[1] == 257:
            found[found != 0] *= -1
        return found

    monkeypatch.setattr(kind, "to_dense", broken)
    assert fails("entries", native_engine)


def test_another_stream_is_seen(monkeypatch):
    from homfast._backends import streams

    monkeypatch.setattr(streams, "VERSION", streams.VERSION + 1)
    found = [run(case) for case in corners("entries", REFERENCE)]
    assert any(outcome.status == "failed" for outcome in found)


def test_what_was_not_run_is_not_a_pass(capsys):
    tally = Tally("agreement")
    assert next(iter(tally.lines())).split()[:3] == ["not", "run", "0"]
    outcome = run(corners("bounds", REFERENCE)[0])
    tally.add(outcome._replace(status="not run"))
    assert next(iter(tally.lines())).split()[:3] == ["not", "run", "0"]
    tally.add(outcome)
    assert next(iter(tally.lines())).split()[:2] == ["ok", "1"]
    case = Case("agreement", str(engines()[0]), "float32", (0, 0, 0), AGREE)
    assert run(case).status == "not run"
    assert main(["selftest", "--repro", case.line()]) == 0
    assert capsys.readouterr().out.startswith("not run")


def test_an_error_in_a_case_is_a_failure(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no kernel today")

    monkeypatch.setattr(reference, "linear", broken)
    outcome = run(corners("bounds", REFERENCE)[0])
    assert (outcome.status, outcome.message) == ("failed", "RuntimeError: no kernel today")


# The process -------------------------------------------------------------------------------------


def test_settings_are_put_back(engine):
    before = homfast.show_config("dicts")
    with computing_on(REFERENCE):
        assert homfast.show_config("dicts")["backend"] == "reference"
    for case in corners("threads", engine) + corners("batches", engine):
        run(case)
    after = homfast.show_config("dicts")
    for key in ("backend", "native"):
        for name in ("target", "threads", "batch_invariant"):
            if isinstance(before.get(key), dict):
                assert after[key][name] == before[key][name]
    assert after["backend"] == before["backend"]


NUMPY_ALONE = """
import sys
sys.modules.update(dict.fromkeys({words}))  # as if they were not installed
from homfast.cli import main
sys.exit(main({arguments}))
"""


def test_the_command_needs_numpy_alone_and_reports(tmp_path):
    """In a process of its own, with -O, without what extras and tests bring."""
    words = ["scipy", "torch", "pytest", "hypothesis", "numba", "llvmlite", "ml_dtypes", "jax",
             "threadpoolctl", "matplotlib", "skimage", "sklearn"]  # fmt: skip
    for arguments in (["selftest", "--seconds", "0"], ["selftest", "--seconds", "0", "--json"]):
        code = NUMPY_ALONE.format(words=words, arguments=arguments)
        done = subprocess.run(
            [sys.executable, "-O", "-c", code],
            capture_output=True, text=True, cwd=tmp_path, env=environment_of_tests(),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        lines = done.stdout.splitlines()
        if "--json" not in arguments:
            assert lines[-1].endswith("all passed"), lines
            passed = sum(line.startswith("        ok") for line in lines)
            assert passed >= len(ideas.IDEAS) - 1, lines  # engines that could agree may not be here
            continue
        found = [json.loads(line) for line in lines]
        assert {each["status"] for each in found} <= {"passed", "not run"}
        assert {each.get("idea") for each in found} >= set(ideas.IDEAS) - {"agreement"}
        assert any(each["engine"] == "numba" and each["status"] == "not run" for each in found)


def test_a_run_without_the_extension_says_so(monkeypatch, capsys):
    monkeypatch.setattr("homfast.selftesting.run.engines", lambda: [REFERENCE])
    monkeypatch.setattr("homfast.selftesting.cases.engines", lambda: [REFERENCE])
    assert main(["selftest", "--seconds", "0"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("s on reference; native was NOT run: all passed")


def test_the_long_form_tells_each_idea_and_keeps_the_counts(monkeypatch, capsys):
    """A line where an idea ends; after Ctrl-C those until then, and exit code 130."""
    monkeypatch.setattr("homfast.selftesting.cases.engines", lambda: [REFERENCE])
    case = corners("exact_integers", REFERENCE)[0]
    seen = []

    def interrupted(seed):
        yield run(case)
        yield run(case)
        seen.append(capsys.readouterr().out)
        yield run(corners("bounds", REFERENCE)[0])
        seen.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr("homfast.selftesting.run.outcomes_of_full", interrupted)
    assert main(["selftest", "--full"]) == 130
    assert seen[0].count("\n") == 1 and seen[1].split()[:2] == ["ok", "2"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["ok", "1"] and lines[1].split()[0] == "not"
    assert lines[-1].startswith("3 cases") and "reference" in lines[-1]
    assert "interrupted" in lines[-1]
    assert len(lines) == len(ideas.IDEAS)


def test_a_failure_is_exit_code_1(monkeypatch, capsys):
    """From Python too; the report says how to repeat it."""
    monkeypatch.setattr("homfast.selftesting.run.IDEAS", ("bounds",))
    monkeypatch.setattr("homfast.selftesting.cases.engines", lambda: [REFERENCE])
    monkeypatch.setattr("homfast.selftesting.run.cases", lambda s, n: cases(s, n, ["bounds"]))
    assert homfast.selftest(seconds=0) is True
    monkeypatch.setattr(reference, "linear", half_precision(reference.linear))
    assert homfast.selftest(seconds=0) is False
    out = capsys.readouterr().out
    assert "FAILED" in out and "homfast selftest --repro '{" in out
    assert main(["selftest", "--seconds", "0"]) == 1
    assert main(["selftest", "--seconds", "0", "--json"]) == 1
