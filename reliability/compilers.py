"""The same bits from every compiler, at every level of optimisation, beside every NumPy.

    python reliability/compilers.py [--compilers CXX ...] [--levels 3 2 1 0] [--numpys V ...]

Each build has the flags of setup.py but for the level. Its targets compute every op of
operations.py at a few shapes, whose hashes must be those of the first build, and the first cases of
the contract; the first build does so beside each NumPy, which pip installs, too. By default the
compilers are those on PATH, and the Clang of ziglang if that is installed (`pip install ziglang`).
Exit status 0 if all agreed, and every build had something to compare; `--only NAME` compares one
op, and does not count.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import required
import scores
from checkout import copy_checkout, keep_targets
from homfast import backends
from homfast.selftesting.cases import FAILED, cases, run
from homfast.selftesting.engines import computing_on, engines
from operations import corpus, digest

ROOT = Path(__file__).parent.parent
NAMES = ("g++", "clang++")
SHAPES = ((1, 3), (3, 17), (16, 33), (40, 64), (100, 77))
NUMPYS = ("2.0.0", "2.4.6")  # the oldest that is asked for, and a new one
ROUNDS, LARGEST = 2, 40  # of cases of the contract
ZIG = """#!/bin/sh
# Zig writes the names of processors with underscores, and adds a sanitizer below -O1.
for word; do
  shift
  [ "$word" = -march=x86-64-v2 ] && word=-march=x86_64_v2
  [ "$word" = -march=x86-64 ] && word=-march=x86_64
  set -- "$@" "$word"
done
exec {python} -m ziglang c++ -fno-sanitize=undefined "$@"
"""


def compilers() -> list[str]:
    """Each C++ compiler for this machine that is on PATH, and "zig"."""
    found: dict[Path, str] = {}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        for path in sorted(Path(folder).glob("*++*")):
            if re.fullmatch(r"(g|clang)\+\+(-\d+)?", path.name) and os.access(path, os.X_OK):
                found.setdefault(path.resolve(), str(path))
    return [*found.values(), *(["zig"] if importlib.util.find_spec("ziglang") else [])]


def version(compiler: str) -> str:
    """Its name and number."""
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    number = re.search(r"\d+\.\d+\.\d+", told.stdout)
    kind = "clang" if "clang" in told.stdout else "g++"
    return f"{kind} {number[0] if number else told.stdout.splitlines()[0]}"


def known(name: str) -> str:
    """A compiler that a command line names, if it is one."""
    if name == "zig" and importlib.util.find_spec("ziglang"):
        return name
    try:
        version(name)
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        wanted = "wanted a C++ compiler, or zig where ziglang is installed"
        raise argparse.ArgumentTypeError(f"got {name!r}, {wanted}") from error
    return name


def build(compiler: str, level: str, folder: Path, targets: list[str]) -> None:
    """The extension, in a copy of the checkout; CalledProcessError if it does not compile."""
    copy_checkout(folder, built=False)
    keep_targets(folder, targets)
    setup = folder / "setup.py"
    text = setup.read_text()
    if text.count('"-O3",\n    "-fvisibility') != 1:
        raise ValueError("setup.py: its -O3 is not where it was")
    setup.write_text(text.replace('"-O3",\n    "-fvis', f'"-O{level}",\n    "-fvis', 1))
    settings = {"CC": compiler, "CXX": compiler, "HOMFAST_CUDA": "0", "HOMFAST_JAX": "0"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = {**os.environ, **settings}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)


def look(only: str = "") -> dict[str, Any]:
    """In the process that has a build: hashes by case, and what of the contract failed."""
    native = [engine for engine in engines() if engine.backend == "native"]
    if not native:
        return {"hashes": {}, "cases": 0, "failed": [backends()["native"]]}
    targets = [engine.target for engine in native]
    hashes = {}
    for name, engine, call in corpus(native, SHAPES):
        if name == only or not only:
            with computing_on(engine):
                hashes[name] = digest(call())
    made = itertools.islice(cases(0, LARGEST, on=native), 0 if only else ROUNDS)
    outcomes = [run(case) for case in itertools.chain.from_iterable(made)]
    failed = [f"{o.message}: {o.case.line()}" for o in outcomes if o.status == FAILED]
    return {"targets": targets, "hashes": hashes, "cases": len(outcomes), "failed": failed}


def look_at(folder: Path, only: str, *places: Path) -> dict[str, Any]:
    """`look` at the build in a folder, with what lies in `places` found first."""
    paths = [*map(str, places), str(folder), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, __file__, f"--in-child={folder}", f"--only={only}"]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        return {"hashes": {}, "cases": 0, "failed": [f"ended: {done.stderr.strip()[-2000:]}"]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Tally:
    """What agreed with the first build, and what did not."""

    def __init__(self) -> None:
        self.hashes: dict[str, str] = {}
        self.targets: list[str] = []
        self.first = ""
        self.compared = self.cases = 0
        self.builds: list[str] = []
        self.wrong: list[str] = []

    def add(self, name: str, found: dict[str, Any]) -> None:
        hashes = found["hashes"]
        if not hashes:
            self.wrong.append(f"{name}: no hashes, nothing was compared")
        if not self.first:
            self.first, self.hashes, self.targets = name, hashes, found.get("targets", [])
            self.compared -= len(hashes)  # with themselves, below
        if hashes.keys() != self.hashes.keys():
            self.wrong.append(f"{name}: {len(hashes)} hashes, {len(self.hashes)} of {self.first}")
        both = hashes.keys() & self.hashes.keys()
        differ = sorted(case for case in both if hashes[case] != self.hashes[case])
        self.wrong += [f"{name}: other bits than {self.first}: {case}" for case in differ]
        self.wrong += [f"{name}: {line}" for line in found["failed"]]
        self.compared += len(both)
        self.cases += found["cases"]
        told = f"{len(both)} hashes, {len(differ)} differ; {found['cases']} cases"
        print(f"{name}: {told}, {len(found['failed'])} failed", flush=True)


def check(chosen: list[str], levels: list[str], numpys: list[str], only: str = "") -> Tally:
    """Build and look, in folders that are removed."""
    tally = Tally()
    targets = required.native_targets()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        zig = top / "zig"
        zig.write_text(ZIG.format(python=sys.executable))
        zig.chmod(0o755)
        first = None
        for compiler in chosen:
            path = str(zig) if compiler == "zig" else compiler
            for level in levels:
                what = f"{version(path)} -O{level}"
                folder = top / what.replace(" ", "")
                try:
                    build(path, level, folder, targets)
                except subprocess.CalledProcessError as error:
                    tally.wrong.append(f"{what}: does not build: {error.stderr[-1000:]}")
                    print(tally.wrong[-1], flush=True)
                    continue
                tally.builds.append(what)
                tally.add(what, look_at(folder, only))
                first = first or folder
        for number in numpys if first else []:
            place = top / f"numpy-{number}"
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
            subprocess.run([*pip, f"--target={place}", f"numpy=={number}"], check=True)
            tally.add(f"{tally.first}, NumPy {number}", look_at(first, only, place))
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compilers", nargs="*", type=known, help="by default all that are found")
    parser.add_argument("--levels", nargs="*", default=["3", "2", "1", "0"])
    parser.add_argument("--numpys", nargs="*", default=list(NUMPYS))
    parser.add_argument("--only", default="", help="one op, as a failure names it")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--in-child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_child is not None:
        import homfast

        if not Path(homfast.__file__).is_relative_to(arguments.in_child):
            raise SystemExit(f"homfast is that of {homfast.__file__}")
        print(json.dumps(look(arguments.only)))
        return 0
    chosen = compilers() if arguments.compilers is None else arguments.compilers
    scores.begin(arguments.json, ["S30"])
    tally = check(chosen, arguments.levels, arguments.numpys, arguments.only)
    for line in tally.wrong:
        print(line)
    words = f"{len(tally.wrong)} of {tally.compared:,} hashes and {tally.cases:,} cases"
    words += f" on {', '.join(tally.targets)}; {', '.join(tally.builds)}"
    words += f"; NumPy {' and '.join(arguments.numpys)}"
    # One op is not the corpus, and a build that nothing was compared with has agreed with none.
    compared = tally.compared > 0 and (tally.cases > 0 or bool(arguments.only))
    count = 0 if arguments.only else len(set(tally.builds))
    found = scores.Score("S30", words, not tally.wrong and compared, count)
    return scores.conclude([found], arguments.json, tally.wrong[:50])


if __name__ == "__main__":
    sys.exit(main())
