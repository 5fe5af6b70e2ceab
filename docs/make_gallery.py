"""Run the examples of the gallery and write their pictures, figures and page.

``python docs/make_gallery.py [NAME ...]`` runs them (all, without names), keeps pictures and what
they print in ``docs/gallery``, and writes ``docs/gallery.md`` and the line "Result:" of each
example's docstring from it: no number there is typed. ``--check`` runs nothing, and fails if a
page or a docstring is not what was found.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
EXAMPLES, FOLDER, PAGE = DOCS.parent / "examples", DOCS / "gallery", DOCS / "gallery.md"
NAMES = (
    "recover_image",
    "mri_fourier",
    "phase_retrieval",
    "hyperspectral_low_rank",
    "pytorch_swap",
    "custom_operator",
)
RESULT = re.compile(r'^Result: .*?(?=\n\n|\n"""|""")', re.MULTILINE | re.DOTALL)
HEAD = """\
# Gallery

Each example is one file, run as `python examples/NAME.py` (extra `demo`, that of PyTorch also
`torch`), in less than two minutes on two cores. Data come in installed packages. Pictures and
results are written by `python docs/make_gallery.py`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all by default")
    parser.add_argument("--check", action="store_true", help="run and write nothing")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"got {', '.join(sorted(unknown))}, wanted some of {', '.join(NAMES)}")
    path = FOLDER / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not options.check:
        FOLDER.mkdir(exist_ok=True)
        for name in options.names or NAMES:
            results[name] = run(name)
        text = json.dumps({name: results[name] for name in NAMES if name in results}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")
    wrong = [target.name for target, text in written(results).items() if not is_so(target, text)]
    if options.check:
        if wrong:
            print(f"{', '.join(wrong)} differ; run python docs/make_gallery.py", file=sys.stderr)
        return bool(wrong)
    for target, text in written(results).items():
        target.write_text(text, encoding="utf-8")
    return 0


def run(name: str) -> str:
    """What an example found, after it wrote its picture."""
    command = [sys.executable, EXAMPLES / f"{name}.py", "--output", FOLDER / f"{name}.png"]
    variables = {**os.environ, "PYTHONPATH": str(DOCS.parent), "OMP_WAIT_POLICY": "passive"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stderr}")
    taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    found = done.stdout.strip().splitlines()[-1]
    print(f"{name}: {time.perf_counter() - start:.0f} s, {taken:.0f} s of processors\n{found}")
    return found


def written(results: dict[str, str]) -> dict[Path, str]:
    """The page and the examples as they should be."""
    files, page = {}, [HEAD]
    for name in NAMES:
        path = EXAMPLES / f"{name}.py"
        source = path.read_text(encoding="utf-8")
        found = results.get(name, "not run yet.")
        wrapped = textwrap.fill(f"Result: {found}", 100, break_long_words=False)
        source = RESULT.sub(lambda match, text=wrapped: text, source, count=1)
        files[path] = source
        page.append(section(name, ast.get_docstring(ast.parse(source)) or "", found))
    return {**files, PAGE: "\n".join(page)}


def section(name: str, docstring: str, found: str) -> str:
    title, _, rest = docstring.partition("\n")
    text = RESULT.sub("", rest + "\n\n").strip().replace("``", "`")
    return (
        f"## {title.rstrip('.')}\n\n![{title}](gallery/{name}.png)\n\n{text}\n\n**{found}**\n\n"
        f"```{{literalinclude}} ../examples/{name}.py\n:language: python\n"
        f":start-at: from __future__\n```\n\n[examples/{name}.py](../examples/{name}.py)\n"
    )


def is_so(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
