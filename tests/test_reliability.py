"""What the scripts of reliability/ rely on is still there."""

import importlib.util
import itertools
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import mxcsr
import numpy as np
import pytest
from engines import NATIVE_ENGINES, REFERENCE, Engine
from processes import output
from test_process import looks

import homfast
from homfast.selftesting import entries, input_kinds, refusals, run
from homfast.selftesting.cases import DTYPES, Outcome, cases
from homfast.selftesting.float_modes import MODES, available, computing_in
from homfast.selftesting.ideas import IDEAS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "reliability"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not a checkout")


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def load(name):
    spec = importlib.util.spec_from_file_location(f"reliability_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutant_can_be_made():
    mutants = load("mutants").MUTANTS
    assert len(mutants) >= 40
    assert len({m.name for m in mutants}) == len(mutants)
    for mutant in mutants:
        text = (ROOT / mutant.file).read_text()
        for old, new in mutant.edits:
            assert text.count(old) == 1, (mutant.name, old)
            assert new != old
        for name in mutant.tests:
            assert (ROOT / "tests" / f"test_{name}.py").is_file(), (mutant.name, name)


def test_damaged_files_of_networks_load_or_are_refused():
    pytest.importorskip("safetensors")
    verdicts = [verdict for _, verdict in load("loader_fuzz").run(count=400, seed=1)]
    assert not [verdict for verdict in verdicts if verdict.startswith("WRONG")]
    assert {"loaded", "refused"} <= set(verdicts)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the library that is preloaded")
def test_allocations_that_fail_are_memory_errors():
    """pybind11 frees, or ends the process, where it has no memory to register an object."""
    found = load("memory").run_failing("vjp,fit,SparseSign forward")
    assert not found["wrong"]
    assert len(found["failures"]) > 50


def test_a_run_of_few_cases_does_not_hold():
    scores = load("scores")
    assert scores.Score("S15", "0 of 100,000", True, 100_000).holds
    assert not scores.Score("S15", "0 of 10", True, 10).holds
    assert not scores.Score("S15", "1 of 100,000", False, 100_000).holds
    assert not scores.Score("S29", "0", True, 0).holds


def test_cases_that_were_not_run_do_not_count():
    contract = load("contract")
    ran, skipped = Counter({"native-avx2": 3, "numba": 4}), Counter({"native-avx2": 2})
    found = contract.Found("bounds", ran, skipped, np.array([0.5]), [])
    score = contract.score("S1", [found])
    assert (score.name, score.clean, score.count) == ("S1", True, 3)
    assert "0 of 7 on native-avx2, numba (3 without numba); 2 more not run" in score.result
    assert contract.details({"bounds": [found, found]})["bounds"]["not run"] == {"native-avx2": 4}
    nothing = contract.Found("agreement", Counter(), Counter(numba=9), np.array([]), [])
    score = contract.score("S9", [nothing])
    assert (score.count, score.clean, score.holds) == (0, False, False)
    assert "no engine; 9 more not run" in score.result


def test_ideas_of_one_figure_are_one_result():
    contract = load("contract")
    kinds = contract.Found("input_kinds", Counter({"native-avx2": 84}), Counter(), np.array([]), [])
    refused = contract.Found("refusals", Counter({"native-avx2": 18}), Counter(), np.array([]), [])
    other = contract.Found("threads", Counter({"native-avx2": 5}), Counter(), np.array([]), [])
    found = {"input_kinds": [kinds], "refusals": [refused], "threads": [other]}
    grouped = contract.by_figure(found)
    assert {name: len(parts) for name, parts in grouped.items()} == {"S19": 2, "S6": 1}
    together = contract.score("S19", grouped["S19"])
    assert (together.count, together.holds) == (102, True)
    assert not contract.score("S19", [kinds]).holds


def test_cases_count_where_they_are_run(monkeypatch):
    """A tenth as many on engines that are not native, and none instead of those on it."""
    contract = load("contract")
    monkeypatch.setattr(contract, "engines", lambda: [REFERENCE])
    monkeypatch.setattr(contract.homfast, "set_num_threads", lambda n: None)
    assert not contract.do(contract.Task("bounds", 0, 0, 3, native=True)).run
    assert contract.do(contract.Task("bounds", 0, 0, 3, native=False)).run == {"reference": 3}
    counts = Counter()
    for task in contract.tasks(1, 0):
        counts[task.idea, task.native] += task.count
    assert (counts["bounds", True], counts["bounds", False]) == (200_000, 20_000)
    assert counts["agreement", False] == 2_000

    def nothing(*arguments):
        for case in next(cases(0, 3, ["bounds"], [REFERENCE])) * 500:
            yield Outcome(case, "not run", 0.0, None, "not here")

    monkeypatch.setattr(contract.run, "full_outcomes", nothing)
    found = contract.do(contract.Task("bounds", 0, 0, 3, native=False))
    assert (found.run.total(), found.not_run.total()) == (0, contract.MOST_NOT_RUN)


def test_what_a_case_does_not_compare_it_does_not_count_for(monkeypatch):
    """Of bits that are not promised, of a mode that is the default, of a stream with itself."""
    contract = load("contract")
    monkeypatch.setattr(contract.homfast, "set_num_threads", lambda n: None)
    named = [Engine("native", "scalar"), Engine("numba"), REFERENCE]

    def counted(idea):
        (first,) = itertools.islice(cases(0, 130, [idea], named), 1)
        return [case for case in first if contract.counts(case)]

    def engines_of(found):
        return {case.engine for case in found}

    bits = {"native-scalar", "numba"}
    assert engines_of(counted("layouts")) == engines_of(counted("process")) == bits
    assert {case.parameters["mode"] for case in counted("process")} == set(MODES) - {"default"}
    for idea in ("bounds", "special_values", "scaling", "operators", "input_kinds"):
        assert engines_of(counted(idea)) == {*bits, "reference"}
    of_streams = {case.engine: Counter() for case in counted("entries")}
    for case in counted("entries"):
        of_streams[case.engine][contract.frozen(case)] += 1
    frozen = len(DTYPES) * len(entries.FROZEN)
    assert of_streams["numba"] == of_streams["reference"] == {True: frozen}
    assert of_streams["native-scalar"][True] == frozen and of_streams["native-scalar"][False]


@pytest.mark.parametrize("idea", ["layouts", "process", "entries"])
def test_a_run_of_what_does_not_count_ends_and_tells_failures(monkeypatch, idea):
    contract = load("contract")
    monkeypatch.setattr(contract, "engines", lambda: [REFERENCE])
    monkeypatch.setattr(contract, "MOST_NOT_RUN", 60)
    monkeypatch.setattr(contract.homfast, "set_num_threads", lambda n: None)

    def failed(case):
        return Outcome(case, "failed", 0.0, None, "wrong")

    monkeypatch.setattr(run, "run", failed)
    found = contract.do(contract.Task(idea, 0, 0, 2_000, native=False))
    frozen = len(DTYPES) * len(entries.FROZEN) if idea == "entries" else 0
    assert found.run.total() == found.fixed == frozen
    assert len(found.failures) >= frozen + 60
    assert not contract.score(contract.FIGURES[idea], [found]).clean


def test_what_s18_leaves_out_does_change():
    """Bits of `reference` with the caller's mode, in cases that pass for they ask none."""
    if not available("up"):
        pytest.skip("the mode cannot be set here")
    rng = np.random.default_rng(3)
    x, weight = (rng.standard_normal((n, 129)).astype(np.float32) for n in (130, 67))
    found = homfast.linear(x, weight, backend="reference")
    with computing_in("up"):
        other = homfast.linear(x, weight, backend="reference")
    assert found.tobytes() != other.tobytes()
    asked = next(cases(0, 130, ["process"], [REFERENCE]))
    assert {run.run(case).status for case in asked} <= {"passed", "not run"}
    assert not any(map(load("contract").counts, asked))


@pytest.mark.parametrize("share", ["nan", "inf", "0", "-1", "some"])
def test_a_share_is_a_number_above_0(monkeypatch, capsys, share):
    monkeypatch.setattr(sys, "argv", ["contract.py", f"--share={share}"])
    with pytest.raises(SystemExit) as stopped:
        load("contract").main()
    assert stopped.value.code == 2 and "--share" in capsys.readouterr().err


def test_every_idea_has_a_figure_and_can_hold():
    scores, contract = load("scores"), load("contract")
    assert set(contract.FIGURES) == set(IDEAS)
    assert set(contract.FIGURES.values()) <= set(scores.FIGURES) >= set(scores.LEAST)
    corners = refusals.CORNERS + input_kinds.CORNERS
    assert scores.LEAST["S19"] == len(DTYPES) * len(corners)
    for idea, name in contract.FIGURES.items():
        if name != "S19":  # which has corners alone
            assert scores.LEAST[name] <= run.FULL.get(idea, run.FULL_OF_OTHERS)


def test_a_figure_that_the_page_does_not_know_is_an_error(monkeypatch, tmp_path):
    scores = load("scores")
    monkeypatch.setattr(scores, "RESULTS", tmp_path)
    scores.save(tmp_path / "some.json", [scores.Score("C1", "0 of 2,000", True, 2_000)])
    assert "| C1 |" in scores.page() and "| 0 of 2,000 | yes" in scores.page()
    scores.save(tmp_path / "some.json", [scores.Score("callers", "0", True, 1)])
    with pytest.raises(ValueError, match=r"some\.json: got a score of 'callers', wanted one of S1"):
        scores.page()


def test_results_of_an_older_commit_are_marked(monkeypatch, tmp_path, capsys):
    scores = load("scores")
    answers = {"rev-parse": str(ROOT), "cat-file": "commit", "log": ""}
    monkeypatch.setattr(scores, "told", lambda *command: answers.get(command[1], ""))
    monkeypatch.setattr(scores, "RESULTS", tmp_path)
    scores.save(tmp_path / "some.json", [scores.Score("C1", "0 of 2,000", True, 2_000)])
    assert "older commit" not in scores.page()
    answers["log"] = "7654321"
    page = scores.page()
    assert "| 0 of 2,000 | yes, at an older commit |" in page
    assert page.index("1 of 1 results are of an older commit") < page.index("| | figure |")
    monkeypatch.setattr(scores, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(sys, "argv", ["scores.py", "--check"])
    (tmp_path / "page.md").write_text(scores.unmarked(page))
    assert scores.main() == 0
    assert "1 of 1 results are of an older commit" in capsys.readouterr().out
    (tmp_path / "page.md").write_text(page.replace("2,000", "2,001"))
    assert scores.main() == 1
    peers = {"peers": "| a table |"}
    scores.save(tmp_path / "peers.json", [], peers)
    page = scores.page()
    assert "2 of 2 results are of an older commit" in page
    assert page.splitlines()[-1].count(scores.OLDER) == 1
    (tmp_path / "peers.json").unlink()
    answers["log"], answers["cat-file"] = "", ""
    assert "| yes, at an older commit |" in scores.page()
    answers["rev-parse"] = str(ROOT.parent)  # of a repository that it lies in
    assert "older commit" not in scores.page()
    answers.clear()  # without git
    assert "older commit" not in scores.page()


def test_results_are_of_the_sources_that_they_are_made_of(monkeypatch):
    """Those for devices are no part of what processors compute, flags and tests are of some."""
    scores = load("scores")
    changed = {"csrc/cuda"}

    def told(_, verb, *options):
        """Of git: a history in which `changed` did."""
        excluded = {"csrc/cuda"} if ":(exclude)csrc/cuda" in options else set()
        asked = options[options.index("--") + 1 :] if "--" in options else ()
        looked_at = {path for path in changed - excluded if path.startswith(asked)}
        log = "7654321" if looked_at else ""
        return {"rev-parse": str(ROOT), "cat-file": "commit", "log": log}[verb]

    monkeypatch.setattr(scores, "told", told)
    assert not scores.outdated("S1", "1234567")
    for name in ("S14", "S27", "S29"):
        assert scores.outdated(name, "1234567")
    changed = {"csrc/kernels"}
    assert scores.outdated("S1", "1234567") and scores.outdated("S27", "1234567")
    changed = {"setup.py"}
    assert scores.outdated("S1", "1234567") and scores.outdated("peers", "1234567")
    for changed in ({"tests"}, {"reliability/mutants.py"}, {"docs"}):
        older = {name for name in scores.FIGURES if scores.outdated(name, "1234567")}
        wanted = {"tests": {"S27", "S28"}, "docs": set(), "reliability/mutants.py": {"S27"}}
        assert older == wanted[min(changed)]


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_of_the_build_flags_count(monkeypatch, tmp_path):
    scores = load("scores")
    monkeypatch.setattr(scores, "ROOT", tmp_path)
    path, told = tmp_path / "setup.py", []

    def commit(text):
        path.write_text(text)
        user = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "."], [*user, "commit", "-q", "-m", "text"]):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)
        told.append(scores.told("git", "rev-parse", "HEAD"))

    commit('FLAGS = [\n    "-O3",\n]\n')
    commit('# Flags.\nFLAGS = [\n    "-O3",\n]\n')
    assert not scores.outdated("S1", told[0])
    commit('# Flags.\nFLAGS = [\n    "-O3",\n    "-ffast-math",\n]\n')
    assert [scores.outdated("S1", each) for each in told] == [True, True, False]


def test_a_build_is_made_anew_of_other_flags():
    pytest.importorskip("pybind11")
    pytest.importorskip("setuptools")
    made = load("sanitizers").build_settings()["native_extension"]({})
    assert "setup.py" in made.depends and "csrc/core/views.h" in made.depends


def test_edits_that_are_not_committed_are_said(monkeypatch):
    scores = load("scores")
    asked = []

    def told(_, verb, *options):
        if verb == "status":
            asked.extend(options)
            return " M setup.py"
        return "1234567"

    monkeypatch.setattr(scores, "told", told)
    assert scores.commit() == "1234567, changed"
    assert {"csrc", "homfast", "setup.py", "tests", "reliability/mutants.py"} <= set(asked)


def test_a_run_that_breaks_off_leaves_no_older_pass(monkeypatch, tmp_path, capsys):
    scores = load("scores")
    monkeypatch.setattr(scores, "RESULTS", tmp_path)
    path = tmp_path / "some.json"
    scores.save(path, [scores.Score("S26", "0 of 1,000,000", True, 1_000_000)])
    assert "| 0 of 1,000,000 | yes" in scores.page()
    fuzz = load("loader_fuzz")
    monkeypatch.setattr(fuzz, "run", lambda *_: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["loader_fuzz.py", f"--json={path}"])
    with pytest.raises(ZeroDivisionError):
        fuzz.main()
    assert "| did not end | **no**" in scores.page()
    scores.begin(None, ["S26"])  # without a file


def test_what_was_not_run_whole_is_said(monkeypatch, tmp_path):
    scores = load("scores")
    monkeypatch.setattr(scores, "RESULTS", tmp_path)
    for name, clean, count in (("C1", True, 2_000), ("O1", True, 3), ("S1", False, 3)):
        scores.save(tmp_path / f"{name}.json", [scores.Score(name, "what", clean, count)])
    page = scores.page()
    for name, said in (("C1", "yes"), ("O1", "not all was run"), ("S1", "**no**")):
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| what | {said}" in row


def test_the_build_of_another_checkout_is_not_saved(monkeypatch, tmp_path):
    scores = load("scores")
    source, built = tmp_path / "csrc" / "a.cpp", tmp_path / "homfast" / "_native.so"
    for path in (source, built):
        path.parent.mkdir()
        path.touch()
    monkeypatch.setitem(sys.modules, "homfast._native", SimpleNamespace(__file__=str(built)))
    found = [scores.Score("C1", "0 of 2,000", True, 2_000)]
    with pytest.raises(ImportError, match=r"homfast._native: got .* wanted one built in"):
        scores.conclude(found, tmp_path / "some.json")
    monkeypatch.setattr(scores, "ROOT", tmp_path)
    os.utime(built, (1, 1))
    with pytest.raises(ImportError, match=r"homfast._native: got one older than csrc/a\.cpp"):
        scores.save(tmp_path / "some.json", found)
    assert not (tmp_path / "some.json").exists()
    os.utime(source, (1, 1))
    (tmp_path / "csrc" / "README.md").touch()
    assert scores.conclude(found, tmp_path / "some.json") == 0
    assert (tmp_path / "some.json").exists()


needs_native = pytest.mark.skipif(not NATIVE_ENGINES, reason="homfast._native is not built")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
needs_assembler = pytest.mark.skipif(
    platform.machine() != "x86_64" or not (shutil.which("as") and shutil.which("objdump")),
    reason="GNU's assembler for x86-64 is not here",
)


@needs_assembler
def test_the_assembler_refuses_what_a_processor_lacks():
    instructions = load("instructions")
    lines = ["addps %xmm1,%xmm0", "vaddps %ymm1,%ymm0,%ymm0", "vaddps %zmm1,%zmm0,%zmm0", "ret"]
    assert set(instructions.refused(lines, instructions.BASELINE)) == set(lines[1:3])
    assert set(instructions.refused(lines, instructions.BASELINE + "+avx2")) == {lines[2]}


@needs_assembler
@needs_native
def test_no_object_has_an_instruction_that_its_processors_lack():
    instructions = load("instructions")
    if not list(ROOT.glob("build/temp*/csrc")):
        pytest.skip("no objects in build/temp*: not built in this checkout")
    found = instructions.objects()
    assert {"scalar.o", "dispatch.o", "module.o"} <= {path.name for path in found}
    for path, processor in found.items():
        if path.stem in ("amx", "avx512"):  # a dozen seconds: the script has them
            continue
        count, wrong = instructions.judge(path, processor)
        assert count and not wrong, (path.name, wrong[:5])
        if path.stem == "avx2":
            assert instructions.judge(path, instructions.BASELINE)[1], "the instrument sees nothing"


@needs_native
@needs_linux
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.parametrize("lost", [False, True])
def test_an_error_that_is_lost_is_noticed_by_the_harness(tmp_path, lost):
    """Of a pool that throws no errors of tasks the first run has none, either."""
    folders = [p for p in ROOT.glob("build/temp*/csrc") if (p / "core/parallel.o").exists()]
    if not folders:
        pytest.skip("no objects in build/temp*: not built in this checkout")
    newest = max(folders, key=lambda path: (path / "core/parallel.o").stat().st_mtime)
    objects = [p for p in newest.glob("*/*.o") if p.parent.name in ("core", "targets")]
    throws = "if (job.error) std::rethrow_exception(job.error);"
    text = (ROOT / "csrc/core/parallel.cpp").read_text()
    assert text.count(throws) == 1
    pool, program = tmp_path / "parallel.cpp", tmp_path / "harness"
    pool.write_text(text.replace(throws, "") if lost else text)
    sources = [pool, FOLDER / "harness.cpp", *(p for p in objects if p.name != "parallel.o")]
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/core'}"]
    command = ["g++", "-std=c++17", "-pthread", *include, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program), "1"], capture_output=True, text=True)
    assert set(done.stderr.splitlines()) == ({"an error of a task: other bits"} if lost else set())
    assert done.returncode == int(lost) and " calls of " in done.stdout


@needs_native
@needs_linux
def test_results_repeat_on_poisoned_memory():
    """Two kinds of memory; `main` takes five."""
    repeats = load("repeats")
    only = f"on {NATIVE_ENGINES[0]}"
    found = [repeats.run_process(poison, 1, 3, only) for poison in ("NaN", "noise")]
    pairs = set(found[0] + found[1])
    names = {name for name, _ in pairs}
    assert len(pairs) == len(names) >= 40, "several hashes of one case"
    assert [len(part) for part in found] == [2 * len(names)] * 2


@needs_linux
@pytest.mark.parametrize(("poison", "wanted"), [("NaN", "nan"), ("zeros", "0.0")])
def test_new_memory_holds_the_poison(poison, wanted):
    """The instrument: an op that reads what it has not written would give these numbers."""
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import numpy, repeats\n"
    code += f"repeats.poison_memory(repeats.POISONS[{poison!r}])\n"
    code += "made = [*numpy.empty(5000), *numpy.empty(100), *numpy.empty(1)]\n"
    code += "print(*set(map(str, made)))"
    assert output(code) == wanted


def test_small_arrays_are_given_out_with_what_is_wanted():
    """NumPy keeps those below 1 KiB, and gives them out again with what was in them: results."""
    repeats = load("repeats")
    content = np.arange(repeats.CACHED.stop, dtype=np.uint32).astype(np.uint8)
    for size in (1, 28, 512, 1023):
        results = [np.full(size, 7, np.uint8) for _ in range(9)]
        results.clear()
        repeats.refill_cache(content)
        found = [np.empty(size, np.uint8) for _ in range(repeats.KEPT)]
        assert all((array == content[:size]).all() for array in found)


@needs_linux
def test_the_import_is_looked_at_under_another_state_of_floating_point():
    for when, compared, changed in looks(mxcsr.FLUSH):
        assert compared > 15 and not changed, (when, changed)


@needs_linux
def test_what_an_import_changes_is_seen():
    code = """
import os, signal, threading, mxcsr, numpy
from process_state import changes, state
before = state()
os.environ["HOMFAST_NEW"] = "1"
signal.signal(signal.SIGUSR1, lambda *_: None)
numpy.seterr(over="raise"), numpy.random.seed(3)
mxcsr.write(mxcsr.read() | mxcsr.FLUSH)
threading.Thread(target=threading.Event().wait, daemon=True).start()
kept = open("/dev/null")
print(sorted(line.partition(":")[0] for line in changes(before, state())), flush=True)
os._exit(0)
"""
    wanted = ["denormals", "environment", "errors of numpy", "mxcsr", "open files"]
    wanted += ["random numbers", "signal handlers", "signal masks", "threads"]
    assert output(code) == str(wanted)


@needs_native
@needs_linux
def test_small_sizes_lie_against_pages_that_trap():
    guard_pages = load("guard_pages")
    tasks = guard_pages.tasks(3)
    layers, operators = tasks[0], tasks[4]
    assert (layers.module, operators.module) == ("test_guard_pages", "test_guard_pages_operators")
    assert guard_pages.do(layers) == guard_pages.Found(2 * 16, "")
    found = guard_pages.do(operators._replace(grid="[3]"))
    assert found.count > 100 and not found.wrong
    found = guard_pages.do(layers._replace(grid="[(2, 3, 4), (2, 3)]"))
    assert "ValueError" in found.wrong and layers._replace(grid="[(2, 3, 4), (2, 3)]").line()


def test_failures_of_a_run_are_named(tmp_path):
    path = tmp_path / "test_one.py"
    path.write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('x', [1, 2])\ndef test_x(x):\n    assert x == 1\n"
        "def test_y():\n    pytest.skip('not here')\n"
    )
    run = load("suite").run_tests([str(path)])
    assert run.count == 2 and run.passed == 1 and run.skipped == {"not here": 1}
    assert [name.rpartition("::")[2] for name in run.failures] == ["test_x[2]"]


def test_the_order_of_tests_is_that_of_the_seed():
    from conftest import shuffled

    class Item:
        def __init__(self, number):
            self.path, self.number = number // 10, number

    items = [Item(number) for number in range(50)]
    orders = [[item.number for item in shuffled(items, seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    for order in orders:
        assert sorted(order) == list(range(50))
        assert all(len({n // 10 for n in order[i : i + 10]}) == 1 for i in range(0, 50, 10))


def test_builds_that_differ_are_told_apart():
    tally = load("compilers").Tally()
    tally.add("one", {"hashes": {"a": "0", "b": "1"}, "cases": 3, "failed": []})
    tally.add("two", {"hashes": {"a": "0", "b": "1"}, "cases": 3, "failed": []})
    assert (tally.wrong, tally.compared, tally.cases) == ([], 2, 6)
    tally.add("three", {"hashes": {"a": "0", "b": "2"}, "cases": 3, "failed": ["x"]})
    assert tally.wrong == ["three: other bits than one: b", "three: x"]
    tally.add("four", {"hashes": {"a": "0"}, "cases": 0, "failed": []})
    assert tally.wrong[2:] == ["four: 1 hashes, 2 of one"]


@needs_native
def test_a_case_of_the_corpus_has_a_hash():
    compilers = load("compilers")
    case = "linear of 3 x 17 float32 on native-scalar"
    found = compilers.look(case)
    assert list(found["hashes"]) == [case] and not found["failed"]
    if shutil.which("g++"):
        assert compilers.version("g++").startswith("g++ ")
        assert any("g++" in path for path in compilers.compilers())
