"""Scripts of reliability/ that tested nothing, or could not, say so: no figure of theirs holds."""

import ast
import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from engines import NATIVE_ENGINES
from processes import output
from test_reliability import FOLDER, beside_the_scripts, load  # noqa: F401

from homfast import _backends
from homfast._backends import native

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not a checkout")
needs_native = pytest.mark.skipif(not NATIVE_ENGINES, reason="homfast._native is not built")


def main(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [script.__name__, *arguments])
    return script.main()


# Threads and forks --------------------------------------------------------------------------------


@pytest.fixture
def concurrency():
    return load("concurrency")


@needs_native
@pytest.mark.parametrize("calls", [7, 50])
def test_every_call_that_is_asked_for_is_made(concurrency, calls):
    assert concurrency.check_threads(calls) == (calls, [])


def only_in_the_main_thread(concurrency, monkeypatch):
    import threading

    def operations(rows, width):
        def call():
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("not here")
            return rows

        return {"linear": call}

    monkeypatch.setattr(concurrency, "operations", operations)


def test_exceptions_in_threads_are_failures(concurrency, monkeypatch):
    only_in_the_main_thread(concurrency, monkeypatch)
    well, wrong = concurrency.check_threads(16)
    assert well == 0 and len(wrong) == 16
    assert all("RuntimeError: not here" in line for line in wrong)
    score = concurrency.score("S15", well, 16, wrong)
    assert not score.clean and score.count == 0 and "0 ended well" in score.result


def test_a_thread_that_ends_is_a_failure(concurrency, monkeypatch):
    def refuse(*_):
        raise OSError("no shapes are looked at")

    monkeypatch.setattr(concurrency, "operations", lambda rows, width: {"linear": lambda: rows})
    monkeypatch.setattr(concurrency.homfast, "linear", refuse)
    well, wrong = concurrency.check_threads(80)
    assert well == 8 and len(wrong) == 8 and "compute: the thread ended: OSError" in wrong[0]
    assert not concurrency.score("S15", 8, 80, []).clean, "fewer calls than were asked for"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_exceptions_beside_forks_are_failures(concurrency, monkeypatch):
    only_in_the_main_thread(concurrency, monkeypatch)
    well, wrong = concurrency.check_forks(1)
    assert well == 1 and "linear: RuntimeError: not here beside forks" in wrong


INTERRUPTS = f"""
import signal, sys, time
sys.path.insert(0, {str(FOLDER)!r})
import concurrency
signal.signal(signal.SIGINT, signal.default_int_handler)
concurrency.long_calls = lambda: {{"short": lambda: None, "long": lambda: time.sleep(60)}}
concurrency.DELAYS = (0.2,)
wrong, slowest = concurrency.check_interrupts(2)
print(wrong == ["short: ended before it was interrupted, or took no notice"], 0 < slowest < 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_calls_that_end_before_ctrl_c_have_not_answered_it():
    assert output(INTERRUPTS) == "True True"


@needs_native
def test_training_is_interrupted_and_would_end_without_that(concurrency, monkeypatch):
    monkeypatch.setattr(concurrency, "LONG", 1e-9)
    calls = concurrency.training_calls()
    assert list(calls) == ["vjp", "vjp, pulled back", "fit"]
    assert len(calls["vjp, pulled back"]()[1]) == 3 and calls["fit"]().loss.size == 1


@needs_native
def test_the_target_that_was_interrupted_is_said(concurrency, monkeypatch, capsys):
    nothing_wrong = lambda count: (count, [])  # noqa: E731
    monkeypatch.setattr(concurrency.signal, "signal", lambda *_: None)
    monkeypatch.setattr(concurrency.required, "native_extension", lambda: None)
    for name in ("check_threads", "check_forks"):
        monkeypatch.setattr(concurrency, name, nothing_wrong)
    monkeypatch.setattr(concurrency, "check_interrupts", lambda count: ([], 0.1))
    assert main(concurrency, monkeypatch) == 0
    target = concurrency.homfast.get_target()
    assert f"S22: 100 ms, 0 of 50 wrong, on {target}\n" in capsys.readouterr().out


# Peers --------------------------------------------------------------------------------------------


def test_the_layer_of_onednn_is_computed_by_it(monkeypatch):
    torch = pytest.importorskip("torch")
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    peers = load("peers")
    assert not peers.enters_onednn()
    assert peers.enters_onednn("of_another") == (
        "AttributeError: module 'peers' has no attribute 'of_another'"
    )
    assert "no product of oneDNN" in peers.enters_onednn("np.array_equal")


def test_peers_that_are_not_run_are_named_below_the_table(monkeypatch):
    pytest.importorskip("torch")
    peers = load("peers")
    monkeypatch.setattr(peers, "enters_onednn", lambda: "not entered")
    found, absent = peers.libraries()
    assert not [library.name for library in found if "oneDNN" in library.name]
    assert absent[-2].endswith("oneDNN: not entered") and absent[-1] == "CuPy: not run"
    rows = peers.table({"a": dict.fromkeys(peers.CHECKS, 0)}, 3, absent).split("\n\n")
    assert rows[0].endswith("| a | 0 | 0 | 0 | 0 | 0 |") and rows[1:] == absent


# Mutants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (0, "survived"),
        (1, "noticed"),
        (None, "noticed"),  # did not end
        (-11, "noticed"),
        (-6, "noticed"),
        (-9, "not judged: pytest was ended by SIGKILL"),
        *((status, f"not judged: pytest ended with {status}") for status in (2, 3, 4, 5)),
    ],
)
def test_only_failures_crashes_and_hangs_notice_a_mutant(status, wanted):
    assert load("mutation").verdict(status) == wanted


class Runs:
    """Stands for builds and runs of pytest: `answers` by the tests that were asked for."""

    def __init__(self, **answers):
        self.answers, self.tests = answers, []

    def __call__(self, command, folder, limit):
        if "pytest" not in command:
            return 0, ""
        self.tests.append([word for word in command if word.startswith("tests/")])
        which = "whole" if not self.tests[-1] else "first" if len(self.tests) == 1 else "named"
        status = self.answers[which]
        return (status.pop(0) if isinstance(status, list) else status), "FAILED tests/test_a.py::b"


CRASH = """..Fatal Python error: Aborted
  File "/tmp/x/tests/test_a.py", line 3 in test_b
  File "/tmp/x/python.py", line 9 in test_c
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "..F\nFAILED tests/test_a.py::test_b[x y-1] - assert 1\n",
            "tests/test_a.py::test_b[x y-1]",
        ),
        ("E\nERROR tests/test_a.py::test_b\n", "tests/test_a.py::test_b"),
        (CRASH, "broke off: tests/test_a.py::test_b"),
        ("...\n", "broke off: ..."),
        ("", "broke off: silently"),
    ],
)
def test_who_noticed_a_mutant_is_said(output, said):
    assert load("mutation").noticed_by(output) == said


@pytest.mark.parametrize(
    "script",
    sorted(p for p in FOLDER.glob("*.py") if '"--json"' in p.read_text()),
    ids=lambda p: p.stem,
)
def test_scripts_write_first_that_they_did_not_end(script):
    text = script.read_text()
    assert "scores.begin(arguments.json, " in text, "an older pass would outlive a crash"


def judge_mutants(monkeypatch, runs, only):
    mutation = load("mutation")
    nothing = lambda *_: None  # noqa: E731
    for name in ("copy_checkout", "keep_targets", "apply"):
        monkeypatch.setattr(mutation, name, nothing)
    monkeypatch.setattr(mutation.Path, "read_bytes", lambda self: b"")
    monkeypatch.setattr(mutation.Path, "write_bytes", nothing)
    monkeypatch.setattr(mutation.required, "native_extension", nothing)
    monkeypatch.setattr(mutation, "run", runs)
    concluded = []
    conclude = lambda found, path, details: concluded.extend([*found, details])  # noqa: E731
    monkeypatch.setattr(mutation.scores, "conclude", conclude)
    main(mutation, monkeypatch, "--only", only)
    return concluded


@pytest.mark.parametrize("status", [1, 2, 4, 5, None, -11])
def test_no_mutant_is_judged_by_tests_that_fail_without_it(monkeypatch, status):
    runs = Runs(first=status, named=1)
    with pytest.raises(SystemExit, match="the unchanged checkout: -m pytest"):
        judge_mutants(monkeypatch, runs, "k is dropped")
    assert len(runs.tests) == 1


def test_the_named_tests_of_all_chosen_mutants_are_the_baseline(monkeypatch):
    mutants = [m for m in load("mutants").MUTANTS if "k" in m.name]
    runs = Runs(first=0, named=1)
    score, results = judge_mutants(monkeypatch, runs, "k")
    wanted = {f"tests/test_{name}.py" for m in mutants for name in m.tests}
    assert set(runs.tests[0]) == wanted and len(runs.tests[0]) == len(wanted)
    assert score.clean and len(results) == len(mutants) > 1
    assert score.result.startswith(f"0 of {len(mutants)}; ")
    assert not score.count, "chosen ones"
    assert load("mutation").score(results, whole=True).count == len(mutants)


@pytest.mark.parametrize(
    ("named", "whole", "result", "clean"),
    [
        (0, [1, 0], "0 of 1", True),  # the whole suite noticed, and passes without it
        (0, [1, 1], "0 of 0, 1 not built or not judged", False),
        (0, [0], "1 of 1", False),
        (0, [5], "0 of 0, 1 not built or not judged", False),
        (4, [], "0 of 0, 1 not built or not judged", False),
    ],
)
def test_what_is_not_judged_is_not_noticed(monkeypatch, named, whole, result, clean):
    runs = Runs(first=0, named=named, whole=whole)
    score, _ = judge_mutants(monkeypatch, runs, "the last k is dropped")
    judged, _, builds = score.result.partition("; ")
    assert (judged, score.clean) == (result, clean) and builds.startswith("compiled for ")


def test_what_reads_the_sources_does_not_judge():
    mutation = load("mutation")
    for option in mutation.READERS:
        path, _, name = option.partition("=")[2].partition("::")
        text = (FOLDER.parent / path).read_text()
        assert option in mutation.TEST and f"def {name}" in text


def test_a_name_that_no_mutant_has_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        main(load("mutation"), monkeypatch, "--only", "no such mutant")
    assert ended.value.code == 2 and "--only: no mutant's name holds" in capsys.readouterr().err


# Memory -------------------------------------------------------------------------------------------


@needs_native
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("g++"), reason="preloads a library")
def test_threads_that_have_no_memory_to_start_are_done_without_or_a_memory_error():
    """Afterwards no signal is blocked, and the next call starts them."""
    found = load("memory").run_failing("cold")
    assert not found["wrong"]
    assert len(found["failures"]) >= 3, "the pool, and two threads"


@needs_native
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("nm"), reason="reads symbols")
def test_the_extension_allocates_by_what_the_library_makes_fail():
    """strdup is for the words of functions, at import."""
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", native._native.__file__],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    asked = {line.split()[-1].partition("@")[0] for line in symbols.splitlines()}
    others = {"malloc", "calloc", "realloc", "reallocarray", "posix_memalign", "memalign", "valloc"}
    assert not asked & others and {"_Znwm", "aligned_alloc"} <= asked


# Kernels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["concurrency", "contract", "flakes", "guard_pages", "import_effects", "large", "memory",
     "mutation", "peers", "repeats"],
)  # fmt: skip
def test_nothing_is_said_of_kernels_where_others_compute(monkeypatch, capsys, name):
    script = load(name)
    monkeypatch.setattr(_backends, "_automatic", _backends.reference)
    with pytest.raises(SystemExit) as ended:
        main(script, monkeypatch)
    assert ended.value.code == 2
    assert "homfast._native: got" in capsys.readouterr().err


def test_a_missing_extension_is_named(monkeypatch, capsys):
    monkeypatch.setattr(_backends, "_automatic", _backends.reference)
    monkeypatch.setattr(native, "why_unavailable", lambda: "not built")
    with pytest.raises(SystemExit):
        load("required").native_extension()
    assert "homfast._native: got not built; wanted" in capsys.readouterr().err


@needs_native
def test_another_checkout_is_named(monkeypatch, capsys, tmp_path):
    required = load("required")
    monkeypatch.setattr(_backends, "_automatic", native)
    monkeypatch.setattr(required, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        required.native_extension()
    assert ended.value.code == 2 and f"wanted that of {tmp_path}" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_checkout_behind_a_link_is_the_same(monkeypatch, tmp_path):
    required = load("required")
    link = tmp_path / "link"
    link.symlink_to(required.ROOT, target_is_directory=True)
    monkeypatch.setattr(required, "ROOT", link)
    required.this_checkout()


def test_files_are_loaded_by_this_checkout(monkeypatch, capsys, tmp_path):
    fuzz, path = load("loader_fuzz"), tmp_path / "found.json"
    monkeypatch.setattr(fuzz.required, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(fuzz, monkeypatch, "--count=3", f"--json={path}")
    assert ended.value.code == 2 and f"wanted that of {tmp_path}" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "option", "holds"),
    [("repeats", "--only=linear", False), ("repeats", "--shapes=12", True),
     ("guard_pages", "--largest=39", False), ("guard_pages", "--largest=40", True)],
)  # fmt: skip
def test_parts_do_not_hold_however_large(monkeypatch, name, option, holds):
    script = load(name)
    concluded = []
    monkeypatch.setattr(script.required, "native_extension", lambda: None)
    monkeypatch.setattr(script.scores, "conclude", lambda found, *_: concluded.extend(found))
    if name == "repeats":
        monkeypatch.setattr(script, "compare", lambda *_: (10**6, [], 10**7))
    else:
        monkeypatch.setattr(script, "tasks", lambda largest: [largest])
        monkeypatch.setattr(script, "do", lambda task: script.Found(10**7, ""))
    main(script, monkeypatch, option)
    (score,) = concluded
    assert score.clean and score.holds is holds


def test_the_objects_of_the_last_build_are_looked_at(monkeypatch, tmp_path):
    """A build does not touch the folder of objects that it makes anew."""
    instructions = load("instructions")
    for number, name in enumerate(("temp.a", "temp.b")):
        path = tmp_path / "build" / name / "csrc" / "core" / "views.o"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (10 - number, 10 - number))
        os.utime(path.parent.parent, (number, number))
    settings = {"list_targets": dict, "runs_before_the_look": lambda path: False}
    monkeypatch.setattr(instructions, "ROOT", tmp_path)
    monkeypatch.setattr(instructions, "build_settings", lambda: settings)
    (path,) = instructions.objects()
    assert path.is_relative_to(tmp_path / "build/temp.a")


def test_runs_of_the_suite_require_the_extension(tmp_path):
    path = tmp_path / "test_one.py"
    path.write_text(
        "def test_x():\n    import os; assert os.environ['HOMFAST_REQUIRE_NATIVE'] == '1'"
    )
    assert load("suite").run_tests([str(path)]).passed == 1


def test_tests_under_sanitizers_require_the_extension(monkeypatch, tmp_path):
    sanitizers = load("sanitizers")
    started = []

    class Process:
        """Stands for builds, which say nothing, and for the run of the tests."""

        stdout, returncode = ["3 passed in 1s"], 0

        def __init__(self, command, **options):
            started.append((command, options["env"]))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def run(command, **_):
        return subprocess.CompletedProcess([], 0, stdout="b, c\n" if "-c" in command else "")

    (tmp_path / "setup.py").write_text("")
    monkeypatch.setattr(sanitizers, "copy_checkout", lambda *_, **__: None)
    kept = []
    monkeypatch.setattr(sanitizers, "keep_targets", lambda *asked: kept.append(asked))
    monkeypatch.setattr(sanitizers.subprocess, "run", run)
    monkeypatch.setattr(sanitizers.subprocess, "Popen", Process)
    found = sanitizers.run_tests(["linear"], tmp_path, ["a", "b", "c"])
    assert kept == [(tmp_path, ["a", "b", "c"])], "those of this machine are built"
    assert found.clean and found.words == "3 tests (b, c)", "those that computed are said"
    ((command, environment),) = started
    assert environment["HOMFAST_REQUIRE_NATIVE"] == "1"
    assert "tests/test_backends.py::test_native_extension_is_installed" in command


@pytest.mark.parametrize(
    ("name", "option"),
    [("concurrency", "calls"), ("concurrency", "forks"), ("concurrency", "interrupts"),
     ("flakes", "jobs"), ("flakes", "repeats"), ("guard_pages", "largest"),
     ("import_effects", "imports"), ("loader_fuzz", "count"), ("memory", "calls"),
     ("peers", "cases"), ("repeats", "shapes"), ("sanitizers", "rounds")],
)  # fmt: skip
@pytest.mark.parametrize("number", ["0", "-3", "some"])
def test_numbers_that_leave_nothing_to_do_are_refused(monkeypatch, capsys, name, option, number):
    with pytest.raises(SystemExit) as ended:
        main(load(name), monkeypatch, f"--{option}={number}")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"--{option}: got '{number}', wanted a whole number from 1" in told


@pytest.mark.parametrize(
    ("name", "option"),
    [("flakes", "seed"), ("loader_fuzz", "seed"), ("loader_fuzz", "first"), ("repeats", "seed")],
)
@pytest.mark.parametrize("number", ["-1", "some"])
def test_seeds_that_no_generator_takes_are_refused(monkeypatch, capsys, name, option, number):
    with pytest.raises(SystemExit) as ended:
        main(load(name), monkeypatch, f"--{option}={number}")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"--{option}: got '{number}', wanted a whole number from 0" in told


@needs_native
@pytest.mark.parametrize(("largest", "most"), [(1, 3), (40, 257)])
def test_the_operators_of_small_guarded_cases_are_small(largest, most):
    tasks = load("guard_pages").tasks(largest)
    grids = [task.grid for task in tasks if task.module == "test_guard_pages_operators"]
    assert max(max(ast.literal_eval(grid)) for grid in grids) == most


# Builds -------------------------------------------------------------------------------------------


def conclude_builds(monkeypatch, looks, *arguments):
    """What `compilers` concludes where its builds found these hashes."""
    compilers = load("compilers")
    found = iter(looks)
    concluded = []
    for name in ("build", "copy_checkout"):
        monkeypatch.setattr(compilers, name, lambda *_: None)
    monkeypatch.setattr(compilers, "version", lambda path: path)
    monkeypatch.setattr(compilers.required, "native_targets", lambda: ["a", "b"])
    monkeypatch.setattr(compilers, "look_at", lambda *_: next(found))
    monkeypatch.setattr(compilers.scores, "conclude", lambda found, *_: concluded.extend(found))
    options = ["--compilers", *(f"c{i}" for i in range(len(looks))), "--levels", "3", "--numpys"]
    main(compilers, monkeypatch, *options, *arguments)
    return concluded[0]


SAME = {"targets": ["b", "c"], "hashes": {"a": "0"}, "cases": 3, "failed": []}
EMPTY = {"hashes": {}, "cases": 3, "failed": []}


def test_builds_without_hashes_have_not_agreed(monkeypatch):
    assert conclude_builds(monkeypatch, [SAME] * 8).holds
    assert not conclude_builds(monkeypatch, [EMPTY] * 8).clean
    assert not conclude_builds(monkeypatch, [*[SAME] * 8, EMPTY]).clean
    assert not conclude_builds(monkeypatch, [SAME]).clean, "one build was compared with none"
    assert not conclude_builds(monkeypatch, [{**SAME, "cases": 0}] * 8).clean
    again = conclude_builds(monkeypatch, [SAME] * 8, "--compilers", *["g++"] * 8)
    assert again.clean and not again.holds, "one compiler, eight times"
    one = conclude_builds(monkeypatch, [{**SAME, "cases": 0}] * 8, "--only=a")
    assert one.clean and not one.holds


def test_the_targets_that_were_compared_are_said(monkeypatch):
    words = conclude_builds(monkeypatch, [SAME] * 2).result
    assert words.startswith("0 of 1 hashes and 6 cases on b, c; c0 -O3, c1 -O3;")


@needs_native
def test_builds_have_every_target_that_computes_here(monkeypatch, tmp_path):
    compilers = load("compilers")
    monkeypatch.setattr(_backends, "_automatic", native)
    monkeypatch.setattr(compilers, "copy_checkout", lambda *_, **__: None)
    kept, here = [], [engine.target for engine in NATIVE_ENGINES]
    monkeypatch.setattr(compilers, "keep_targets", lambda *asked: kept.append(asked))
    with pytest.raises(FileNotFoundError, match=r"setup\.py"):
        compilers.build("g++", "3", tmp_path, compilers.required.native_targets())
    assert kept == [(tmp_path, here)] and "scalar" in here


@pytest.mark.parametrize("name", ["nosuch", sys.executable + "/nosuch"])
def test_a_compiler_that_is_none_is_refused(monkeypatch, capsys, name):
    with pytest.raises(SystemExit) as ended:
        main(load("compilers"), monkeypatch, "--compilers", name)
    assert ended.value.code == 2
    assert f"--compilers: got '{name}', wanted a C++ compiler" in capsys.readouterr().err


PARTS = {"metadata": {"component": {"name": "a", "version": "1"}}, "components": []}


def test_wheels_that_were_not_audited_do_not_hold_and_are_saved(monkeypatch, tmp_path, capsys):
    supply_chain = load("supply_chain")
    monkeypatch.setattr(supply_chain, "check_wheels", lambda: ([], "0" * 64))
    monkeypatch.setattr(supply_chain, "bill_of_materials", lambda wheel_hash: PARTS)
    path = tmp_path / "found.json"
    assert main(supply_chain, monkeypatch, "--json", str(path)) == 0
    assert "it takes 1 to hold" in capsys.readouterr().out
    (score,) = json.loads(path.read_text())["scores"]
    assert score["id"] == "S29" and score["clean"] and not score["holds"]


@pytest.mark.parametrize(
    "dependencies, status, clean, holds",
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, True, True),
        ([{"name": "a", "version": "1", "vulns": [{"id": "x"}]}], 1, False, False),
        ([{"name": "a", "skip_reason": "no answer"}], 1, True, False),
        (None, 1, True, False),
    ],
)
def test_an_audit_that_could_not_ask_does_not_hold(
    monkeypatch, tmp_path, dependencies, status, clean, holds
):
    supply_chain = load("supply_chain")
    monkeypatch.setattr(supply_chain, "check_wheels", lambda: ([], "0" * 64))
    monkeypatch.setattr(supply_chain, "bill_of_materials", lambda wheel_hash: PARTS)
    told = "" if dependencies is None else json.dumps({"dependencies": dependencies})
    done = SimpleNamespace(stdout=told, stderr="no route to the database")
    monkeypatch.setattr(supply_chain, "subprocess", SimpleNamespace(run=lambda *_, **__: done))
    path = tmp_path / "found.json"
    assert main(supply_chain, monkeypatch, "--audit", "--json", str(path)) == status
    (score,) = json.loads(path.read_text())["scores"]
    assert (score["clean"], score["holds"]) == (clean, holds)


def no_compiler(wheel_hash):
    raise FileNotFoundError("no g++")


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (no_compiler, "no list of parts: FileNotFoundError: no g++"),
        (lambda _: {**PARTS, "components": [{"name": "numpy"}]}, "no version of numpy"),
    ],
)
def test_a_wheel_without_a_list_of_parts_is_wrong(monkeypatch, tmp_path, make, line):
    """Asked to write it or not; and it is written as far as it goes."""
    supply_chain = load("supply_chain")
    monkeypatch.setattr(supply_chain, "check_wheels", lambda: ([], "0" * 64))
    monkeypatch.setattr(supply_chain, "bill_of_materials", make)
    monkeypatch.setattr(supply_chain, "audit", lambda: ([], ""))
    path, bom = tmp_path / "found.json", tmp_path / "bom.json"
    assert main(supply_chain, monkeypatch, "--audit", "--json", str(path)) == 1
    (score,) = json.loads(path.read_text())["scores"]
    assert score["result"] == line and not score["clean"] and not score["holds"]
    assert main(supply_chain, monkeypatch, "--audit", "--sbom", str(bom)) == 1
    assert bom.exists() is (make is not no_compiler)


def test_runs_of_the_suite_add_up_while_the_sources_stay(monkeypatch, tmp_path, capsys):
    flakes, path = load("flakes"), tmp_path / "found.json"
    asked = []

    def run_tests(arguments):
        asked.append(arguments[0])
        return flakes_run(10, ["a test"] if arguments[0] == "--seed=4" else [], {"why": 2})

    flakes_run = load("suite").Run
    monkeypatch.setattr(flakes, "run_tests", run_tests)
    monkeypatch.setattr(flakes.required, "native_extension", lambda: None)
    monkeypatch.setattr(flakes.scores, "outdated", lambda name, commit: False)
    options = ["--jobs=1", "--repeats=2", f"--json={path}"]

    def saved():
        (score,) = json.loads(path.read_text())["scores"]
        return score["result"], score["clean"]

    assert main(flakes, monkeypatch, *options) == 0
    assert main(flakes, monkeypatch, "--more", "--seed=3", *options) == 1
    assert asked == [f"--seed={seed}" for seed in (1, 2, 3, 4)]
    assert saved() == ("1 in 4 runs of 10 to 11 tests; at most 2 skipped in one", False)
    assert "pytest --seed=4 'a test'" in capsys.readouterr().out
    monkeypatch.setattr(flakes.scores, "outdated", lambda name, commit: True)
    assert main(flakes, monkeypatch, "--more", "--seed=5", *options) == 0
    assert saved() == ("0 in 2 runs of 10 tests; at most 2 skipped in one", True)
    monkeypatch.setattr(flakes.scores, "outdated", lambda name, commit: False)
    assert main(flakes, monkeypatch, *options, "tests/test_linear.py") == 0
    assert main(flakes, monkeypatch, "--more", "--seed=21", *options) == 0
    assert saved()[0].startswith("0 in 2 runs"), "those of named tests do not add up"
    with pytest.raises(SystemExit):
        main(flakes, monkeypatch, "--more")
    assert "--more: wanted --json FILE" in capsys.readouterr().err


def test_what_is_linked_into_a_wheel_is_a_part_of_it(monkeypatch):
    supply_chain = load("supply_chain")
    monkeypatch.setattr(supply_chain, "shutil", SimpleNamespace(which=lambda name: name))
    told = SimpleNamespace(stdout="Cuda compilation tools, release 13.0, V13.0.88\n")
    monkeypatch.setattr(supply_chain, "subprocess", SimpleNamespace(run=lambda *_, **__: told))
    monkeypatch.setenv("HOMFAST_CUDA", "auto")
    (runtime,) = supply_chain.linked_libraries()
    assert (runtime["name"], runtime["version"]) == ("cudart_static", "13.0.88")
    monkeypatch.setenv("HOMFAST_CUDA", "0")
    assert supply_chain.linked_libraries() == []


# Files --------------------------------------------------------------------------------------------


def test_a_loader_that_refuses_everything_is_noticed(monkeypatch):
    pytest.importorskip("safetensors")
    loader_fuzz = load("loader_fuzz")

    def refuse(path):
        raise ValueError("no")

    monkeypatch.setattr(loader_fuzz.homfast.ReLUNetwork, "load", refuse)
    with pytest.raises(ValueError, match="no"):
        list(loader_fuzz.run(count=3, seed=1))


def test_a_loader_of_other_bits_is_noticed(monkeypatch):
    pytest.importorskip("safetensors")
    loader_fuzz = load("loader_fuzz")
    network = loader_fuzz.homfast.ReLUNetwork
    good = network.load

    def other(path):
        net = good(path)
        return network([-w for w in net.weights], negative_slope=net.negative_slope)

    monkeypatch.setattr(network, "load", other)
    with pytest.raises(RuntimeError, match="loads as another network"):
        list(loader_fuzz.run(count=3, seed=1))


@pytest.mark.parametrize(
    ("loaded", "refused", "large", "clean"),
    [(30, 70, [], True), (100, 0, [], False), (0, 100, [], False), (0, 1, [], True),
     (30, 70, ["11 MB of names"], False)],
)  # fmt: skip
def test_of_many_files_some_load_and_some_are_refused(loaded, refused, large, clean):
    loader_fuzz = load("loader_fuzz")
    found = loader_fuzz.Counter(loaded=loaded, refused=refused)
    assert loader_fuzz.score(found, 0, large).clean is clean


def test_damaged_files_are_no_good_ones_and_differ(monkeypatch):
    pytest.importorskip("safetensors")
    loader_fuzz = load("loader_fuzz")
    monkeypatch.setattr(loader_fuzz, "judge", lambda path, size: "refused")
    numbers = [number for number, _ in loader_fuzz.run(count=3000, seed=1, first=5)]
    good = loader_fuzz.good_files()  # of another call, and the same
    files = {loader_fuzz.damaged(1, number, good) for number in numbers}
    assert len(numbers) == len(files) == 3000 and not files & set(good)
    assert numbers[0] == 5 and numbers[-1] > 3005, "a repeat was left out"
    words = loader_fuzz.score(loader_fuzz.Counter(refused=3), 0, []).result
    assert words == "0 of 3 distinct files"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_what_files_of_megabytes_take_is_measured(tmp_path):
    """Names that no network has are refused unread; a network takes its size, and is packed."""
    pytest.importorskip("safetensors")
    large_files = load("large_files")
    paths = dict(large_files.networks(tmp_path))
    for name, verdict, most in (
        ("18 MB of weights", "loaded", 72),
        ("9.8 MB of names", "refused", 4),
    ):
        path = paths[name]
        taken, found = large_files.peak(large_files.File(name, "network", path, verdict, 0))
        assert found == verdict and taken < most << 20
        assert verdict == "refused" or taken > path.stat().st_size, "the instrument sees nothing"
