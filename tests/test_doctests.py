"""What the docstrings and the pages of docs/ show is what happens."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import homfast

PACKAGE = Path(homfast.__file__).parent
ROOT = PACKAGE.parent
OPTIONAL = {"homfast.torch": "torch", "homfast.jax": "jax"}


def with_examples():
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples_of_docstrings(name):
    needed = [package for prefix, package in OPTIONAL.items() if name.startswith(prefix)]
    for package in needed:
        pytest.importorskip(package)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed, "the output above is what differs"


def pages():
    if not (ROOT / "docs").is_dir():
        pytest.skip("no docs beside the package: not a checkout")
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", ["README.md", "docs/jax.md", "docs/operators.md", "docs/torch.md"])
def test_blocks_of_pages_run(name):
    """Each page from top to bottom, without the blocks that need what is not installed."""
    pytest.importorskip("scipy")  # of construct and injectivity
    pages()
    for package in OPTIONAL.values():
        if package in name:
            pytest.importorskip(package)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), flags=re.M | re.S)
    assert blocks
    names = {}
    for block in blocks:
        if name != "README.md" or "homfast.torch" not in block:  # of a model of the reader's
            exec(compile(block, name, "exec"), names)


def anchors(text):
    """The names that GitHub and MyST give headings."""
    titles = re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    """Files and headings are there; addresses elsewhere are well formed, and not asked."""
    wrong = []
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)]*)\)", text):
            if re.match(r"[a-z]+:", link):
                if not re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~%+-]*)?(#[\w-]+)?", link):
                    wrong.append(f"{page.name}: {link}")
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                wrong.append(f"{page.name}: {link}")
    assert not wrong, wrong


def test_addresses_in_docstrings_are_well_formed():
    for path in sorted(PACKAGE.rglob("*.py")):
        for address in re.findall(r"https?:[^\s\"'`<>)\]]*", path.read_text(encoding="utf-8")):
            assert re.match(r"https?://[\w.-]+\.[a-z]+(/|$|[,.;])", address), f"{path}: {address}"


def test_public_names_have_docstrings():
    for name in ("homfast", *(f"homfast.{each}" for each in homfast.__all__)):
        if name != "homfast" and not (PACKAGE / name.partition(".")[2]).is_dir():
            continue
        module = importlib.import_module(name)
        for each in module.__all__:
            assert each == "__version__" or (getattr(module, each).__doc__ or "").strip(), each
