"""ISA objects leak nothing: one global symbol, none weak, no code that runs at load.

A weak symbol from a file compiled for AVX-512 can be the copy that the linker keeps for everyone,
which then crashes an older processor (numpy#25274).
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from engines import NATIVE_ENGINES

ROOT = Path(__file__).parent.parent
OBJECTS = sorted(ROOT.glob("build/temp*/**/csrc/targets/*.o"))


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def tools():
    if not OBJECTS:
        pytest.skip("no objects in build/temp*/csrc/targets: not built in this checkout")
    for tool in ("nm", "readelf"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def test_every_object_exports_one_symbol():
    for path in OBJECTS:
        lines = run("nm", "--defined-only", "--extern-only", str(path)).splitlines()
        kinds = {line.split()[-1]: line.split()[-2] for line in lines}
        weak = [name for name, kind in kinds.items() if kind in "WVwvu"]
        assert not weak, f"{path.name}: weak symbols {weak[:5]}"
        assert list(kinds) == [f"homfast_kernels_{path.stem}"], f"{path.name}: exports {kinds}"


def test_objects_need_little_of_the_standard_library():
    for path in OBJECTS:
        lines = run("nm", "--undefined-only", str(path)).splitlines()
        names = [line.split()[-1] for line in lines]
        unwanted = [n for n in names if n.startswith(("_ZSt", "_ZNSt", "_Zna", "_Znw", "Py"))]
        assert not unwanted, f"{path.name}: needs {unwanted}"


def test_nothing_runs_at_load():
    for path in OBJECTS:
        sections = run("readelf", "--sections", "--wide", str(path))
        for section in (".init_array", ".ctors", ".preinit_array"):
            assert section not in sections, f"{path.name}: has {section}"


def test_every_target_is_built():
    names = {path.stem for path in OBJECTS}
    computing = {engine.target for engine in NATIVE_ENGINES}
    assert "scalar" in names and computing <= names, names
