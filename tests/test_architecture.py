"""The arrows of the design: who may include or import whom, and words that stand nowhere."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CSRC, PACKAGE = ROOT / "csrc", ROOT / "homfast"
SUFFIXES = (".h", ".inc", ".cpp", ".def", ".cuh", ".cu")


def sources(*folders):
    return [p for f in folders for p in sorted((CSRC / f).rglob("*")) if p.suffix in SUFFIXES]


def without_comments(path):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def includes(path):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', without_comments(path), re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def checkout():
    if not sources("core", "kernels", "simd", "targets", "bindings"):
        pytest.skip("no csrc beside the tests: not a checkout")


# (folder, what its files may not include, by a pattern)
FORBIDDEN = [
    ("simd", r"parallel|pybind11|Python\.h|bindings/|kernels/|targets/|thread|core/dispatch"),
    ("kernels", r"parallel|pybind11|Python\.h|bindings/|targets/|simd/|thread|intrin|dispatch"),
    ("core", r"pybind11|Python\.h|numpy/|bindings/|simd/|kernels/|targets/.*\.cpp|immintrin\.h"),
    ("bindings", r"simd/|kernels/|intrin\.h"),
    ("targets", r"parallel|pybind11|Python\.h|bindings/|thread"),
]


@pytest.mark.parametrize(("folder", "pattern"), FORBIDDEN)
def test_includes_follow_the_arrows(folder, pattern):
    files = sources(folder)
    assert files, f"csrc/{folder} has no sources"
    for path in files:
        wrong = [name for name in includes(path) if re.search(pattern, name)]
        assert not wrong, f"{path.relative_to(ROOT)} includes {wrong}"


def test_only_targets_include_simd():
    for path in sources("."):
        if path.parent.name in ("targets", "simd"):
            continue
        wrong = [name for name in includes(path) if name.startswith("simd/")]
        assert not wrong, f"{path.relative_to(ROOT)} includes {wrong}"


def test_kernels_have_no_intrinsics_threads_allocation_or_containers():
    words = r"\b(_mm\w+|__m\d+\w*|std::(vector|string|thread|mutex|function)|new|malloc|throw)\b"
    for path in sources("kernels"):
        found = re.findall(words, without_comments(path))
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_simd_and_kernels_use_no_standard_containers():
    for path in sources("simd", "kernels", "targets"):
        wrong = set(includes(path)) & {"vector", "string", "algorithm", "functional", "memory"}
        assert not wrong, f"{path.relative_to(ROOT)} includes {wrong}"


def test_flags_of_a_target_have_their_processor_features():
    """A flag without its feature would run where it cannot; one of -march=native anywhere."""
    text = without_comments(CSRC / "targets" / "targets.def")
    rows = re.findall(r'HF_TARGET\((\w+),\s*"([^"]*)",\s*"([^"]*)"\)', text)
    assert rows and rows[-1][0] == "scalar", rows
    for name, flags, features in rows:
        wanted = set()
        for flag in flags.split():
            if flag.startswith("-march="):
                wanted |= set(flag.split("+")[1:])  # -march=armv8-a+simd: what is beyond the base
            elif flag.startswith("-m"):
                wanted.add(flag.removeprefix("-m"))
        asked = set(features.split()) - {"amx-permission"}  # of the system, not the compiler
        assert wanted == asked, f"{name}: flags {sorted(wanted)}, features {sorted(asked)}"
        assert (CSRC / "targets" / f"{name}.cpp").exists(), name


def test_targets_are_short():
    for path in (CSRC / "targets").glob("*.cpp"):
        lines = [line for line in without_comments(path).splitlines() if line.strip()]
        assert len(lines) <= 6, f"{path.name} has {len(lines)} lines"


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_backends_import_nothing_above_them():
    above = ("layers", "network", "linearization", "training", "config", "measure", "_arrays")
    above += ("_places", "_host_arrays", "_device_arrays", "_described", "weights")
    for path in (PACKAGE / "_backends").glob("*.py"):
        wrong = [n for n in imports(path) if re.match(rf"homfast\.({'|'.join(above)})\b", n)]
        assert not wrong, f"{path.name} imports {wrong}"


def test_layers_know_no_single_backend():
    places = ("_arrays", "_places", "_host_arrays", "_device_arrays", "_described")
    for name in ("layers", "network", "linearization", "training", "weights", *places):
        wrong = [n for n in imports(PACKAGE / f"{name}.py") if n.endswith(("_native", "._cuda"))]
        assert not wrong, f"{name}.py imports {wrong}"


def strings(path):
    """The string constants of Python code, docstrings aside: what could reach a compiler."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documentation:
            yield str(node.value)


def test_only_the_workspace_keeps_memory_a_thread():
    """It has a level for each call below a signal handler."""
    found = {p.name for p in sources(".") if "thread_local" in without_comments(p)}
    assert found == {"workspace.h", "parallel.cpp"}


def test_words_that_stand_nowhere():
    flags = r"-f(unsafe-)?fast-math|-Ofast|-march=native|-mtune=native|-ffinite-math-only"
    flags += r"|-funsafe-math|--use_fast_math|fp:fast"
    python = [p for p in (*PACKAGE.rglob("*.py"), ROOT / "setup.py") if p.exists()]
    for path in python:
        wrong = [text for text in strings(path) if re.search(flags, text)]
        assert not wrong, f"{path.relative_to(ROOT)}: {wrong}"
    for path in sources("."):
        text = re.sub(r"#\s*error[^\n]*", "", without_comments(path))
        assert not re.search(flags, text), path.relative_to(ROOT)
    settings = ROOT / "pyproject.toml"
    if settings.exists():
        assert not re.search(flags, re.sub(r"#[^\n]*", "", settings.read_text()))


def test_nothing_is_unpickled_or_evaluated():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = set(imports(path)) & {"pickle", "cPickle", "dill", "shelve", "marshal"}
        assert not names, f"{path.relative_to(ROOT)} imports {names}"
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                value = node.value
                assert isinstance(value, ast.Constant) and value.value is False, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), f"{path}: {node.func.id}"


def test_fast_math_is_a_compile_error():
    """Whoever adds the flag from outside is told (reliability table, 7)."""
    text = "".join(path.read_text() for path in sources("core", "kernels", "simd"))
    assert re.search(r"__FAST_MATH__|__FINITE_MATH_ONLY__", text), "no #error on fast math"


def test_every_header_of_simd_has_every_verb():
    """A target that lacks one does not compile, on a machine that others may not have."""
    table = (CSRC / "simd" / "README.md").read_text().partition("A new verb")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    verbs = {name for cell in cells for name in re.findall(r"`(\w+)(?:<T>)?\(", cell)}
    assert {"fma", "load_bfloat16", "sign_lanes", "store_halves"} <= verbs
    for name in ("avx2", "avx512", "neon", "scalar"):
        text = (CSRC / "simd" / f"{name}.h").read_text()
        missing = [verb for verb in sorted(verbs) if not re.search(rf"\b{verb}(<\w+>)?\(", text)]
        assert not missing, f"{name}.h lacks {', '.join(missing)}"


@pytest.mark.parametrize("target", ["neon", "scalar"])
def test_aarch64_compiles(target):
    compiler = shutil.which("aarch64-linux-gnu-g++")
    if compiler is None:
        pytest.skip("no aarch64-linux-gnu-g++ here")
    command = [compiler, "-std=c++17", "-march=armv8-a", "-fsyntax-only", f"-I{CSRC}"]
    source = str(CSRC / "targets" / f"{target}.cpp")
    done = subprocess.run([*command, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]
