"""The site has every public name; what it is built from, `sphinx-build` checks."""

import importlib.util
import zlib
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
BUILT = DOCS.parent / "build" / "docs"


@pytest.fixture(scope="module")
def public():
    if not (DOCS / "conf.py").exists():
        pytest.skip("no docs beside the tests: not a checkout")
    spec = importlib.util.spec_from_file_location("docs_conf", DOCS / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    return conf.public_modules()


def test_public_modules_are_found(public):
    wanted = {"construct", "injectivity", "linear_nets", "measure", "measure.solvers", "torch"}
    assert {"homfast", *(f"homfast.{each}" for each in wanted)} <= set(public)
    assert "fista" in public["homfast.measure.solvers"]


def test_every_public_name_is_on_the_site(public):
    """Names and addresses are in the inventory, by which other sites link to this one."""
    inventory = BUILT / "objects.inv"
    if not inventory.exists():
        pytest.skip("the site is not built: sphinx-build -W -n docs build/docs")
    packed = inventory.read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    there = {line.split(" ", 1)[0] for line in lines if " py:" in line}
    wanted = {f"{module}.{each}" for module, names in public.items() for each in names}
    assert set(public) | wanted <= there, sorted((set(public) | wanted) - there)
