"""The examples of the gallery at small size, and its page."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES, SCRIPT = ROOT / "examples", ROOT / "docs" / "make_gallery.py"

# Arguments by example, and what its last line must hold.
SMALL = {
    "recover_image": (("--steps", "20", "--hidden", "32"), "f(2y) == 2 f(y) to the bit"),
    "mri_fourier": (("--iterations", "3"), "of the Fourier samples: zero-filled"),
    "phase_retrieval": (("--iterations", "8"), "from 4"),
    "hyperspectral_low_rank": (("--iterations", "2", "--stride", "6"), "with rank 1"),
    "pytorch_swap": (("--steps", "20"), "differ by"),
    "custom_operator": (("--side", "32", "--angles", "8", "--iterations", "5"), "lsmr"),
}


@pytest.fixture(scope="module", autouse=True)
def checkout():
    if not EXAMPLES.is_dir():
        pytest.skip("no examples beside the tests: not a checkout")


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("make_gallery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SMALL)
def test_example_runs_and_draws(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    if name == "pytorch_swap":
        pytest.importorskip("torch")
    arguments, said = SMALL[name]
    picture = tmp_path / "picture.png"
    monkeypatch.setattr(sys, "argv", [name, *arguments, "--output", str(picture)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert said in capsys.readouterr().out.splitlines()[-1]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_page_and_docstrings_hold_what_the_examples_found(gallery, monkeypatch, capsys):
    assert tuple(SMALL) == gallery.NAMES
    monkeypatch.setattr(sys, "argv", ["make_gallery.py", "--check"])
    assert gallery.main() == 0, capsys.readouterr().err
    results = gallery.written({})
    assert "not run yet." in results[gallery.PAGE], "figures come from results alone"
    for name in gallery.NAMES:
        assert (gallery.FOLDER / f"{name}.png").exists()
