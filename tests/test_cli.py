"""The command line: usage, what cannot be done, ``info``."""

import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import homfast
from homfast import _installation
from homfast.cli import main

pytest.importorskip("PIL", reason="needs homfast[demo]")
pytest.importorskip("skimage", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")
pytest.importorskip("matplotlib", reason="needs homfast[demo]")

from PIL import Image

from homfast.recovery import data


def run_here(capsys, *arguments):
    """Exit code, standard output and standard error of the command, run in this process."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def check_one_line(code, out, err, *words):
    assert code == 2
    assert out == ""
    assert err.endswith("\n") and err.count("\n") == 1, err
    assert err.startswith("homfast")
    for word in words:
        assert word in err


@pytest.fixture
def crop(tmp_path):
    """A small photograph whose sides are no multiples of 8."""
    path = tmp_path / "crop.png"
    Image.open(data.shipped(data.TEST_IMAGE)).crop((200, 100, 301, 199)).save(path)
    return path


# Usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "frobnicate"),
        (["--frobnicate"], "COMMAND"),
        (["--json", "info"], "--json"),
        (["--", "info"], "COMMAND"),
        (["info", "surplus"], "surplus"),
        (["recover", "--frobnicate"], "--frobnicate"),
        (["recover", "one.png", "two.png"], "two.png"),
        (["recover", "--ratio"], "--ratio"),
        (["recover", "--ratio", "much"], "much"),
        (["recover", "--block", "2.5"], "2.5"),
        (["recover", "--seed", "1.5"], "1.5"),
        (["recover", "--operator", "camera"], "gaussian"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line(capsys, arguments, word):
    check_one_line(*run_here(capsys, *arguments), word, "--help" if arguments else "COMMAND")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("ratio", value) for value in ("0", "2", "-1", "nan", "inf", "1e-9", "0.02")),
        *(("block", value) for value in ("1", "0", "-8", "33", "1000000")),
        *(("seconds", value) for value in ("0", "-1", "nan", "inf")),
        *(("seed", value) for value in ("-1", str(2**64))),
    ],
)
def test_values_out_of_range_are_one_line(capsys, tmp_path, option, value):
    out = tmp_path / "out.png"
    result = run_here(capsys, "recover", f"--{option}={value}", "--output", out)
    check_one_line(*result, f"{option}: ", "wanted")
    assert not out.exists()


def test_too_few_measurements_name_the_ratio_that_does(capsys):
    result = run_here(capsys, "recover", "--block", "2")
    check_one_line(*result, "rounds to 1 measurements", "0.5")


def make_directory(path):
    path.mkdir()


def make_text(path):
    path.write_text("This is not an image.\n" * 100)


def make_empty(path):
    path.touch()


def make_truncated(path):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path, "PNG")
    path.write_bytes(path.read_bytes()[:60])


def make_not_finite(path):
    pixels = np.ones((16, 16), np.float32)
    pixels[3, 4] = np.nan
    Image.fromarray(pixels).save(path, "TIFF")


@pytest.mark.parametrize(
    ("make", "name", "word"),
    [
        (lambda path: None, "missing.png", "there is no file"),
        (make_directory, "directory.png", "is a directory"),
        (make_text, "text.txt", "not an image"),
        (make_text, "text.tif", "not an image"),
        (make_empty, "empty.png", "not an image"),
        (make_truncated, "truncated.png", "not an image"),
        (make_not_finite, "nan.tif", "not finite"),
    ],
)
def test_unreadable_images_are_one_line(capsys, tmp_path, make, name, word):
    path, out = tmp_path / name, tmp_path / "out.png"
    make(path)
    check_one_line(*run_here(capsys, "recover", path, "--output", out), "image: ", name, word)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("output", "absent/out.png", "cannot write"),
        ("output", ".", "is a directory"),
        ("output", "out.xyz", "'xyz'"),
        ("output", "crop.png", "is also the image"),
        ("json", "absent/out.json", "cannot write"),
        ("json", ".", "is a directory"),
        ("json", "recover.png", "is also the file of --output"),
    ],
)
def test_unwritable_results_are_one_line(capsys, monkeypatch, crop, option, value, word):
    monkeypatch.chdir(crop.parent)
    check_one_line(*run_here(capsys, "recover", crop, f"--{option}", value), f"{option}: ", word)
    assert os.listdir() == ["crop.png"]


@pytest.mark.parametrize("package", ["skimage", "sklearn", "scipy", "matplotlib", "PIL"])
def test_a_missing_extra_is_one_line(capsys, monkeypatch, tmp_path, package):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    check_one_line(*run_here(capsys, "recover"), "pip install homfast[demo]")


def test_an_unknown_backend_is_one_line(tmp_path):
    environment = dict(os.environ, HOMFAST_BACKEND="abacus")
    for command in ("info", "recover"):
        done = subprocess.run(
            [sys.executable, "-m", "homfast", command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        check_one_line(done.returncode, done.stdout, done.stderr, "HOMFAST_BACKEND", "abacus")


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as a shell does")
@pytest.mark.parametrize("command", ["recover", "experiment", "bench", "info", "selftest", None])
def test_a_closed_output_is_one_line(tmp_path, command):
    words = [command] if command else ["--version"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "homfast", *words],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    check_one_line(done.returncode, "", done.stderr, "standard output is closed", os.devnull)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors as a shell does")
@pytest.mark.parametrize("words", [["frobnicate"], ["selftest", "--repro", "nothing"]])
def test_closed_errors_do_not_change_the_exit_code(tmp_path, words):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "homfast", *words],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert done.returncode == 2


# info, --version ----------------------------------------------------------------------------------


def test_version_and_help(capsys):
    assert run_here(capsys, "--version") == (0, f"homfast {homfast.__version__}\n", "")
    code, out, err = run_here(capsys, "--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in ("recover", "bench", "info", "selftest"))
    code, out, _ = run_here(capsys, "recover", "--help")
    assert code == 0 and all(word in out for word in ("IMAGE", "--ratio", "--json", "40"))


def test_info_for_people_and_for_programs(capsys):
    code, out, err = run_here(capsys, "info")
    assert (code, err) == (0, "")
    assert homfast.__version__ in out and "reference: available" in out
    code, out, err = run_here(capsys, "info", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(homfast.show_config(mode="dicts"), default=str))


def test_info_has_what_a_bug_report_needs(capsys):
    assert run_here(capsys, "info", "--json")[0] == 0
    report = homfast.show_config(mode="dicts")
    for key in ("commit", "wheel", "numpy_blas", "cpu_features", "processors", "extras"):
        assert key in report, key
    assert report["python_build"]["gil"] in ("enabled", "disabled")
    assert report["extras"]["matplotlib"] not in ("", "not installed")
    if platform.machine() == "x86_64" and report.get("native", {}).get("target") == "avx2":
        assert {"avx2", "fma"} <= set(report["cpu_features"])


def test_the_extras_are_those_of_the_project():
    path = Path(__file__).parent.parent / "pyproject.toml"
    if not path.exists():
        pytest.skip("no pyproject.toml beside the tests: not a checkout")
    extras = tomllib.loads(path.read_text())["project"]["optional-dependencies"]
    extras.pop("docs", None)  # what builds pages has no part in a computation
    lines = [line for each in extras.values() for line in each]
    named = {re.match(r"[\w.-]+", line)[0] for line in lines} - {"homfast"}
    assert named | {"cupy-cuda12x"} == set(_installation.EXTRAS)


def test_environment_is_what_homfast_reads(monkeypatch):
    monkeypatch.setenv("HOMFAST_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("HOME_OF_SECRETS", "1")
    found = _installation.environment()
    assert found["HOMFAST_NUM_THREADS"] == "3" and found["OMP_NUM_THREADS"] == "2"
    assert "HOME_OF_SECRETS" not in found
