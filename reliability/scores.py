"""The scoreboard of reliability: what is counted, what a run writes, and the page made of it.

    python reliability/scores.py [--check]

A script of this folder saves one file in results/ a run, with a line for each figure that it found,
the machine, the commit and the command. The page docs/reliability.md is made of these files: a
figure that no file has is "not run" there, and is no pass. `--check` only compares, and says how
many results are of sources that have changed since.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "reliability" / "results"
PAGE = ROOT / "docs" / "reliability.md"
OLDER, OF_OLDER = ", at an older commit", " of an older commit:"  # marks of a result on the page

# Figure, and what it must be. H is of a GPU.
FIGURES = {
    "S1": ("random cases with an error over its bound", "0 of 200,000"),
    "S2": ("exact-integer cases not equal to integer arithmetic", "0 of 50,000"),
    "S3": ("cases of networks with a wrong mask, gradient or Euler identity", "0 of 20,000"),
    "S4": ("scalings by 2^k that change bits", "0"),
    "S5": ("special values of another class, or that leave their row", "0"),
    "S6": ("results that differ between 1, 2, 3, 5, 8 and 16 threads", "0"),
    "S7": ("results that differ with the batch or the position in it", "0"),
    "S8": ("results that differ with alignment and strides", "0"),
    "S9": ("results that differ between targets that fuse", "0"),
    "S10": ("results that differ between runs, processes and poisons", "0"),
    "S11": ("accesses beyond an array, between pages that trap", "0"),
    "S12": ("reports of AddressSanitizer and UndefinedBehaviorSanitizer, and failures", "0"),
    "S13": ("reports of ThreadSanitizer, without suppressions, and failures", "0"),
    "S14": ("reports of compute-sanitizer (GPU)", "0"),
    "S15": ("concurrent calls with wrong bits, or that hang", "0 of 100,000"),
    "S16": ("forks that hang or compute other bits", "0"),
    "S17": ("side effects of the import", "0"),
    "S18": ("bits that change with the caller's floating-point state", "0"),
    "S19": ("kinds of input with neither a right result nor a named error", "0"),
    "S20": ("failed allocations that are no MemoryError", "0"),
    "S21": ("wrong elements beyond 2^31", "0"),
    "S22": ("slowest answer to Ctrl-C", "below 300 ms"),
    "S23": ("memory that grows over 10,000 calls", "below 1 MiB"),
    "S24": ("instructions that an older processor lacks", "0"),
    "S25": ("generators that miss published vectors or golden hashes", "0"),
    "S26": ("damaged files that crash, or are neither loaded nor refused", "0 of 1,000,000"),
    "S27": ("wrong kernels that the tests do not notice", "0 of 40 or more"),
    "S28": ("failures in 20 runs in random order", "0"),
    "S29": ("differing builds, strange files in a wheel, known vulnerabilities", "0"),
    "S30": ("compilers and optimisation levels that give other bits", "0"),
    "O1": ("operators beyond their bound, or whose rows' bits change", "0 of 5,000"),
    "C1": ("results that differ for callers in several threads at once", "0 of 2,000"),
}
# A run of fewer cases (--share) is written down, but does not hold; chosen ones (--only) are none.
LEAST = {
    **dict.fromkeys(("S4", "S5", "S6", "S7", "S8", "S9", "S18", "S25", "C1"), 2_000),
    "S1": 200_000,
    "S2": 50_000,
    "S3": 20_000,
    "S10": 4_000,  # 500 cases twice under each of four contents of memory
    "S11": 275_684,  # rows, features and columns of 0 to 40, two types, both edges
    "S12": 9_000,  # tests
    "S13": 4_000,
    "S15": 100_000,
    "S16": 300,
    "S17": 250,  # ten looks or more at each of 20 things
    "S19": 102,  # 42 kinds and nine calls, two types: all there are
    "S20": 500,
    "S21": 20,  # tests
    "S22": 50,
    "S23": 10_000,
    "S24": 200_000,  # instructions
    "S26": 1_000_000,
    "S27": 40,
    "S28": 20,
    "O1": 5_000,
    "S30": 8,  # builds: two compilers at four levels
}
# What is measured: a result is of these sources, and older than those that came after.
SOURCES = ["csrc", "homfast"]
BUILD, FLAGS = "setup.py", "-G[\"']-"  # of its lines count those with a flag, as git is asked
WITHOUT_DEVICES = ":(exclude)csrc/cuda"
OF_DEVICES = ("S14", "S27", "S29")  # what csrc/cuda enters, too
OF_TESTS = {"S27": ["tests", "reliability/mutants.py"], "S28": ["tests"]}  # what tests make


class Score(NamedTuple):
    """What a run found for a figure."""

    name: str
    result: str
    clean: bool
    count: int  # of cases, calls or tests

    @property
    def holds(self) -> bool:
        return self.clean and self.count >= LEAST.get(self.name, 1)


def told(*command: str) -> str:
    """What a command prints, or nothing."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def processor() -> str:
    """Its name and widest vectors, of Linux: what there was to ask."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told_of = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    name = told_of.get("model name") or platform.machine()
    flags = told_of.get("flags", "").split()
    widest = next((flag for flag in ("amx_tile", "avx512f", "avx2") if flag in flags), "")
    return f"{name} ({widest})" if widest else name


def outdated(name: str, commit: str) -> bool:
    """Whether what a figure measures has changed since; False without git: nobody can say."""
    root = told("git", "rev-parse", "--show-toplevel")
    if not root or Path(root).resolve() != ROOT.resolve():
        return False
    clean = commit.partition(",")[0]
    if commit != clean or not told("git", "cat-file", "-t", clean):
        return True  # with edits, or of a history that is not here
    sources = [*SOURCES, *OF_TESTS.get(name, [])]
    if name not in OF_DEVICES:
        sources.append(WITHOUT_DEVICES)
    log, since = ("git", "log", "--format=%h", "-1"), (f"{clean}..HEAD", "--")
    return bool(told(*log, *since, *sources) or told(*log, FLAGS, *since, BUILD))


def check_extension() -> None:
    """Whether results are of this checkout's sources; ImportError if not."""
    loaded = sys.modules.get("homfast._native")
    if loaded is None or loaded.__file__ is None:
        return
    built = Path(loaded.__file__).resolve()
    if not built.is_relative_to(ROOT.resolve()):
        raise ImportError(f"homfast._native: got {built}, wanted one built in {ROOT}")
    for path in (ROOT / "csrc").rglob("*"):
        of_it = path.suffix in (".cpp", ".h", ".inc", ".def") and "cuda" not in path.parts
        if of_it and path.stat().st_mtime > built.stat().st_mtime:
            name = path.relative_to(ROOT).as_posix()
            wanted = "wanted a build of it; python setup.py build_ext --inplace"
            raise ImportError(f"homfast._native: got one older than {name}, {wanted}")


def commit() -> str:
    """That of the checkout, and whether what is measured was edited since."""
    edited = told("git", "status", "--porcelain", *SOURCES, BUILD, *OF_TESTS["S27"])
    changed = ", changed" if edited else ""
    return told("git", "rev-parse", "--short=12", "HEAD") + changed


def save(path: Path, found: Iterable[Score], details: Any = None) -> None:
    """Write what a run found, and what that is made of; ImportError where others built homfast."""
    check_extension()
    report = {
        "scores": [
            {"id": s.name, "result": s.result, "clean": s.clean, "holds": s.holds} for s in found
        ],
        "command": "python " + " ".join([f"reliability/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "machine": f"{processor()}, {platform.system()}, Python {platform.python_version()}",
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "details": details,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def begin(path: Path | None, names: Iterable[str]) -> None:
    """Write that a run did not end, which stays if it does not: no older pass outlives a crash."""
    if path:
        save(path, [Score(name, "did not end", False, 0) for name in names])


def conclude(found: Sequence[Score], path: Path | None, details: Any = None) -> int:
    """Print what a run found, save it if there is a path, and say the exit status."""
    for score in found:
        least = LEAST.get(score.name, 1)
        few = "" if score.holds or not score.clean else f"; it takes {least:,} to hold"
        print(f"{score.name}: {score.result}{few}")
    if path:
        save(path, found, details)
    return 0 if all(score.clean for score in found) else 1


def page() -> str:
    """The page, of what lies in results/."""
    found: dict[str, list[dict[str, Any]]] = {}
    old = count = 0
    peers: list[str] = []
    for path in sorted(RESULTS.glob("*.json")):
        report = json.loads(path.read_text())
        for score in report["scores"]:
            if score["id"] not in FIGURES:
                wanted = f"one of {', '.join(FIGURES)}"
                raise ValueError(f"{path.name}: got a score of {score['id']!r}, wanted {wanted}")
            found.setdefault(score["id"], []).append({**report, **score})
        if isinstance(report["details"], dict) and "peers" in report["details"]:
            where = f"{report['machine']}; {report['commit']}; {report['date']}"
            mark = OLDER if outdated("peers", report["commit"]) else ""
            old, count = old + bool(mark), count + 1
            peers += ["", report["details"]["peers"], "", f"{where}{mark}; `{report['command']}`"]
    lines = [
        "# Reliability",
        "",
        "What homfast promises, as figures that anyone can make again: each is what a script of",
        "`reliability/` counted, on the machine and at the commit beside it. What was not run says",
        "so, and is no pass. This page is written by `python reliability/scores.py`.",
        "",
        "Layer calls are asked in S1, S2, S5 to S9, S18 and C1; networks in S2 to S4, S6, S7,",
        "S18 and C1; linear operators of every class, and made of others, in O1, `Gaussian` also",
        "in S7, C1 and, on `native`, S18, `Rademacher` in S7; calls of each kind in S19.",
        "",
        "S7 asks networks and operators as they are, and layer calls after",
        "`homfast.set_batch_invariant(True)`; models of `homfast.torch.replace` follow the",
        "rule for layer calls. S18 asks what kernels compute: those of `native` the same in",
        "any mode, those of Numba the same on every thread in the caller's; what Python",
        "rounds before or after them, a slope to float32 or the scale of a normalized",
        "operator, is rounded as its caller set. `reference` computes by NumPy, in the",
        "caller's mode, and promises no bits: it counts in none of S6 to S9, S18 and C1, O1",
        "asks it for bounds alone. Its generators are also Numba's, and what S25 compares",
        "with: there both count for published and frozen bits alone. Targets and both types",
        "get the same data in S1 to S9, S18, S19, S25, O1 and C1, and each is a case: of",
        "three targets and two types a drawn network of S3 is six on `native`. Those that",
        "count for nothing (`not run`) had too little work for a second thread, or are of the",
        "target that others are compared with, or of one that does not fuse.",
        "",
        "S12 asks a harness of kernels and pool, and the tests of layers, networks, operators",
        "and files, but those of Ctrl-C and of exhausted memory, and not for leaks (S23",
        "does); S13 the harness alone. S26 damages files of networks, not images. S27",
        "compiles what it names as far as the processor's architecture has it: neon is of",
        "aarch64.",
        "",
        "| | figure | must be | result | holds | machine, commit, date | command |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    table = len(lines) - 2
    for name, (figure, target) in FIGURES.items():
        rows = found.get(name, [])
        if not rows:
            lines.append(f"| {name} | {figure} | {target} | not run | | | |")
        for row in rows:
            few = "not all was run" if row.get("clean") else "**no**"
            holds = "yes" if row["holds"] else few
            if outdated(name, row["commit"]):
                holds += OLDER
                old += 1
            count += 1
            where = f"{row['machine']}; {row['commit']}; {row['date']}"
            cells = [name, figure, target, row["result"], holds, where, f"`{row['command']}`"]
            lines.append(f"| {' | '.join(cells)} |")
    if old:
        lines[table:table] = [
            f"{old} of {count} results are{OF_OLDER} csrc/, homfast/ or flags changed since"
            f" (csrc/cuda: for {', '.join(OF_DEVICES)}; tests/: for {', '.join(OF_TESTS)}).",
            "",
        ]
    if peers:
        lines += [
            "",
            "## The others",
            "",
            "The same drawn layers, x W^T in float32, by libraries that users have: in how",
            "many a row changes a bit with the batch or the number of threads, an element is",
            "beyond the componentwise bound, a NaN leaves its row, or f(2^k x) is not 2^k",
            "f(x). That the batch changes no bit is a setting of homfast for plain arrays,",
            "and what its networks and operators always do; README has what it costs. PyTorch",
            "stands without oneDNN and with it; JAX and ONNX Runtime, which README times,",
            "were not asked.",
            *peers,
        ]
    return "\n".join(lines) + "\n"


def unmarked(text: str) -> str:
    """A page without marks of age."""
    lines = text.replace(OLDER, "").splitlines()
    kept = [line for line in lines if line and OF_OLDER not in line]
    return "\n".join(kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether the page is current")
    arguments = parser.parse_args()
    text = page()
    if arguments.check:
        # Marks come with commits: a page is current if it has the results.
        current = PAGE.is_file() and unmarked(PAGE.read_text()) == unmarked(text)
        print(f"docs/reliability.md is {'' if current else 'not '}current")
        for line in text.splitlines():
            if OF_OLDER in line:
                print(line)
        return 0 if current else 1
    PAGE.write_text(text)
    print(f"{PAGE.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
