"""What goes into a wheel, and what comes out of a build, checked.

    python reliability/supply_chain.py [--sbom FILE] [--audit] [--json FILE]

Two wheels are built of two copies of the checkout in different folders, at one SOURCE_DATE_EPOCH:
they must have one hash, and hold no file beyond the list below. A CycloneDX list of what the wheel
is made of and needs must be made, with the version of each part; `--sbom` writes it. `--audit` asks
pip-audit about what is installed here. Exit status 0 if all that was asked for holds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import scores
from checkout import copy_checkout

ROOT = Path(__file__).parent.parent


def build_wheel(folder: Path) -> Path:
    """The wheel of a copy of the checkout, without what was built of it before."""
    copy_checkout(folder, built=False)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", "out", "."], cwd=folder, env=environment, check=True)
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel


def check_wheels() -> tuple[list[str], str]:
    """What is wrong with two wheels, and the hash of the first."""
    wrong, hashes = [], []
    with tempfile.TemporaryDirectory() as short, tempfile.TemporaryDirectory() as other:
        for folder in (Path(short), Path(other) / "a-longer-path"):
            folder.mkdir(exist_ok=True)
            wheel = build_wheel(folder)
            hashes.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
            names = zipfile.ZipFile(wheel).namelist()
            megabytes = wheel.stat().st_size / 1e6
            print(f"{wheel.name}: {len(names)} files, {megabytes:.1f} MB, {hashes[-1]}")
            check = [sys.executable, "tools/wheel_files.py", str(wheel)]
            told = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
            if told.returncode:
                wrong.append((told.stdout + told.stderr).strip())
    if hashes[0] != hashes[1]:
        wrong.append("two builds have two hashes")
    return wrong, hashes[0]


def audit() -> tuple[list[str], str]:
    """Known vulnerabilities of what is installed here; and what pip-audit could not ask about."""
    options = ["--local", "--format=json", "--progress-spinner=off"]
    command = [sys.executable, "-m", "pip_audit", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return [], f"pip-audit: {done.stderr.strip()[-300:]}"
    found = [d for d in told if d["name"] != "homfast"]
    wrong = [
        f"{d['name']} {d['version']}: {len(d['vulns'])} known" for d in found if d.get("vulns")
    ]
    skipped = [d["name"] for d in found if "skip_reason" in d]
    if skipped or not found:
        return wrong, f"pip-audit could not ask about {len(skipped)} of {len(found)}"
    return wrong, ""


def component(name: str, kind: str, **more: Any) -> dict[str, Any]:
    """A part, with the version that is installed here, if it is."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"type": kind, "name": name, **more}
    purl = f"pkg:pypi/{name.lower()}@{version}"
    return {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl, **more}


def linked_libraries() -> list[dict[str, Any]]:
    """What lies in a wheel that nvcc takes part in: CUDA's runtime, linked into it."""
    nvcc = shutil.which("nvcc") if os.environ.get("HOMFAST_CUDA") != "0" else None
    if nvcc is None:
        return []
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"V([\d.]+)", told)
    licence = {"license": {"name": "NVIDIA CUDA Toolkit End User License Agreement"}}
    runtime = {"type": "library", "name": "cudart_static", "scope": "required"}
    return [{**runtime, "version": version[1] if version else "", "licenses": [licence]}]


def bill_of_materials(wheel_hash: str) -> dict[str, Any]:
    """CycloneDX 1.6: homfast, what it needs, and what it is compiled with."""
    requires = importlib.metadata.requires("homfast") or []
    needed = [re.split(r"[ ;<>=!~\[]", r)[0] for r in requires if "extra ==" not in r]
    told = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout
    compiler = {"type": "application", "name": "g++", "version": told.splitlines()[0].split()[-1]}
    tools = [component(name, "library", scope="excluded") for name in ("setuptools", "pybind11")]
    linked = "its headers are compiled in"
    tools[1]["properties"] = [{"name": "homfast:use", "value": linked}]
    tools[1]["licenses"] = [{"license": {"id": "BSD-3-Clause"}}]
    own = component("homfast", "library", licenses=[{"license": {"id": "BSD-3-Clause"}}])
    own["hashes"] = [{"alg": "SHA-256", "content": wheel_hash}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [
            *(component(name, "library", scope="required") for name in needed),
            *linked_libraries(),
            *tools,
            {**compiler, "scope": "excluded"},
        ],
    }


def check_parts(wheel_hash: str) -> tuple[list[str], dict[str, Any]]:
    """What is wrong with the list of parts, and the list: {} if it cannot be made."""
    try:
        bom = bill_of_materials(wheel_hash)
    except (OSError, IndexError, importlib.metadata.PackageNotFoundError) as error:
        return [f"no list of parts: {type(error).__name__}: {error}"], {}
    parts = [bom["metadata"]["component"], *bom["components"]]
    return [f"no version of {part['name']}" for part in parts if not part.get("version")], bom


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sbom", type=Path, help="where to write the list of parts")
    parser.add_argument("--audit", action="store_true", help="ask for known vulnerabilities")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    arguments = parser.parse_args()
    scores.begin(arguments.json, ["S29"])
    wrong, wheel_hash = check_wheels()
    lacking, bom = check_parts(wheel_hash)
    wrong += lacking
    if arguments.sbom and bom:
        arguments.sbom.write_text(json.dumps(bom, indent=1) + "\n")
    unasked = "vulnerabilities not asked for"
    if arguments.audit:
        vulnerable, unasked = audit()
        wrong += vulnerable
    line = "; ".join(wrong) or "0 in two builds"
    line += f" ({unasked})" if unasked else ""
    # Without a whole audit nothing holds, though nothing is wrong.
    score = scores.Score("S29", line, not wrong, 0 if unasked else 2)
    status = scores.conclude([score], arguments.json)
    return 1 if arguments.audit and unasked else status


if __name__ == "__main__":
    sys.exit(main())
