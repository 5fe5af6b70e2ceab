"""What an older processor is asked to do, and which target each processor is given.

    python reliability/instructions.py [--amx] [--json FILE]

Every instruction of the objects of the last build goes back through GNU's assembler, which is told
of a processor that has x86-64-v2 and, in a target's object, what targets.def says, or which has
less, in what runs before the extension has looked: it refuses what that processor lacks. Then
processors under qemu's user mode import and compute, or are told what they lack. `--amx` builds the
amx target in emulation (tests/emulation/run, minutes), where the system refuses its tiles.

Exit status 0 if no instruction was refused and every processor that was asked got the target it
should; without qemu none is asked, and the figure does not hold.
"""

from __future__ import annotations

import argparse
import collections
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import required
import scores
from sanitizers import build_settings

ROOT = Path(__file__).parent.parent
sys.path.insert(1, str(ROOT / "tests"))

BASELINE = "corei7+popcnt"  # of GNU's assembler: x86-64-v2
OLDEST = "generic64"
# Asked of a processor only after cpuid said that the system uses it (cpu_features.cpp).
GUARDED = {"cpu_features": {"xgetbv"}}
# Processors of qemu, which has no AVX-512, and the best target that each can run.
PROCESSORS = {
    "Nehalem": "scalar",
    "Westmere": "scalar",
    "SandyBridge": "scalar",
    "IvyBridge": "scalar",
    "Opteron_G5": "scalar",  # FMA without AVX2
    "Haswell": "avx2",
    "Broadwell": "avx2",
    "Skylake-Client": "avx2",
    "EPYC": "avx2",
    "max": "avx2",
    "Haswell,-avx2": "scalar",
    "Haswell,-fma": "scalar",
    "Haswell,-avx": "scalar",
    "Haswell,-xsave": "scalar",  # the system saves no YMM
}
WORK = """
import numpy as np, homfast
print(homfast.get_target())
n = np.arange(-60, 60).reshape(20, 6)  # integers, for OpenBLAS takes FMA where AVX2 is
x = n.astype(np.float32)
assert (homfast.linear_relu(x, x) == np.maximum(n @ n.T, 0)).all()
net = homfast.ReLUNetwork.random((6, 9, 2))
assert np.isfinite(homfast.fit(net, [(x, net(x[::-1]))], learning_rate=1e-3).loss).all()
assert homfast.measure.Gaussian(3, 6)(x).shape == (20, 3)
"""


class Refused(NamedTuple):
    """An instruction that a processor lacks."""

    instruction: str
    times: int
    why: str


def instructions(path: Path) -> collections.Counter[str]:
    """Each in the words of an assembler, with how often it stands in an object."""
    command = ["objdump", "--disassemble", "--wide", "--no-show-raw-insn", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    found: collections.Counter[str] = collections.Counter()
    for line in told.stdout.splitlines():
        if row := re.match(r"\s+[0-9a-f]+:\t(.*)", line):
            text = re.sub(r"\s*(<[^>]*>|#.*)", "", row[1]).strip()
            text = re.sub(r"^(data16 )+", "", text)  # padding, which the assembler takes once
            # The places of jumps and calls do not matter.
            text = re.sub(
                r"^((?:bnd |notrack |rex\.W )?(?:j|call|loop)\w*\s+)[0-9a-f]+$", r"\1.", text
            )
            if text:
                found[text] += 1
    return found


def refused(found: Iterable[str], processor: str) -> dict[str, str]:
    """The instructions that GNU's assembler does not take for a processor, and why."""
    lines = list(found)
    command = ["as", f"-march={processor}", "-mmnemonic=att", "-o", "/dev/null", "-"]
    done = subprocess.run(command, input="\n".join([*lines, ""]), capture_output=True, text=True)
    errors = re.findall(r"^\{standard input\}:(\d+): Error: (.*)", done.stderr, re.MULTILINE)
    if done.returncode and not errors:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return {lines[int(number) - 1]: why for number, why in errors}


def judge(path: Path, processor: str) -> tuple[int, list[Refused]]:
    """How many instructions an object has, and what the processor lacks of them."""
    found = instructions(path)
    allowed = GUARDED.get(path.stem, set())
    wrong = [
        Refused(text, found[text], why)
        for text, why in refused(found, processor).items()
        if text.split()[0] not in allowed
    ]
    return found.total(), wrong


def objects() -> dict[Path, str]:
    """Those of the last build in this checkout, each with the processor it may ask for."""
    everything = list(ROOT.glob("build/temp*/csrc/**/*.o"))
    if not everything:
        raise SystemExit("no objects in build/: python setup.py build_ext --inplace")
    newest = max(everything, key=lambda path: path.stat().st_mtime)
    settings = build_settings()
    targets, before = settings["list_targets"](), settings["runs_before_the_look"]
    found = {}
    for path in sorted(p for p in everything if p.is_relative_to(newest.parent.parent)):
        flags = targets.get(path.stem, []) if path.parent.name == "targets" else []
        extensions = [flag.removeprefix("-m").replace("-", "_") for flag in flags]
        found[path] = "+".join(
            [OLDEST if before(path.with_suffix(".cpp")) else BASELINE, *extensions]
        )
    return found


def run_on(processor: str, code: str) -> str:
    """What Python code prints last on an emulated processor, or how it ended."""
    import test_old_processor

    done = test_old_processor.run_on(processor, code)
    if done.returncode:
        return f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
    return done.stdout.strip().rpartition("\n")[2]


def check_processors() -> tuple[int, list[str]]:
    """How many there are, and those not told what they lack, without their target, or in error."""
    from test_old_processor import LOAD, TOO_OLD

    wanted = {name: (WORK, target) for name, target in PROCESSORS.items()}
    wanted |= {name: (LOAD, f"this processor lacks {what}") for name, what in TOO_OLD.items()}
    wrong = []
    for name, (code, end) in wanted.items():
        found = run_on(name, code)
        print(f"{name}: {found}", flush=True)
        if not found.endswith(end):
            wrong.append(f"{name}: {found}, wanted {end}")
    return len(wanted), wrong


def check_amx() -> list[str]:
    """The amx target on emulated tiles, granted and refused by the system."""
    command = [str(ROOT / "tests/emulation/run"), "tests/test_amx_emulated.py"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "TARGETS": "amx", "PATH": path, "HOMFAST_CUDA": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    passed = re.search(r"(\d+) passed", done.stdout)
    print(f"amx: {passed[0] if passed else done.stdout[-2000:] + done.stderr[-2000:]}", flush=True)
    return [] if done.returncode == 0 and passed else [f"amx in emulation: {done.stdout[-500:]}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--amx", action="store_true", help="also where AMX is refused, in minutes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if platform.machine() not in ("x86_64", "AMD64"):
        raise SystemExit(f"not for {platform.machine()}: x86-64's instructions are looked at")
    required.native_extension()
    scores.begin(arguments.json, ["S24"])
    count, wrong, words = 0, [], []
    chosen = objects()
    for path, processor in chosen.items():
        here, lacking = judge(path, processor)
        count += here
        wrong += [f"{path.name}: {r.times} of {r.instruction!r}: {r.why}" for r in lacking]
    words.append(f"{len(wrong)} of {count:,} in {len(chosen)} objects")
    if shutil.which("qemu-x86_64"):
        asked, missed = check_processors()
        words.append(f"{len(missed)} of {asked} emulated processors with another target or error")
        wrong += missed
    else:
        words.append("processors not run: no qemu-x86_64")
        count = 0
    if arguments.amx:
        missed = check_amx()
        words.append(
            "AMX refused in emulation: " + ("not right" if missed else "computes on another target")
        )
        wrong += missed
    for line in wrong:
        print(line)
    found = scores.Score("S24", "; ".join(words), not wrong, count)
    return scores.conclude([found], arguments.json, wrong[:50])


if __name__ == "__main__":
    sys.exit(main())
