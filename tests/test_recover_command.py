"""``homfast recover`` from end to end: in a pipe, on a terminal, interrupted, on tiny images."""

import fcntl
import json
import math
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from homfast.cli import main

pytest.importorskip("PIL", reason="needs homfast[demo]")
pytest.importorskip("skimage", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")
pytest.importorskip("matplotlib", reason="needs homfast[demo]")

from PIL import Image

from homfast.recovery import data

NAMES = {"linear", "one_hidden", "two_hidden", "classical"}


@pytest.fixture
def crop(tmp_path):
    """A small photograph whose sides are no multiples of 8."""
    path = tmp_path / "crop.png"
    Image.open(data.shipped(data.TEST_IMAGE)).crop((200, 100, 301, 199)).save(path)
    return path


def start(*arguments, **options):
    command = [sys.executable, "-m", "homfast", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        **options,
    )


def test_recover_in_a_pipe(crop):
    done = start("recover", crop, "--seconds", "1", "--json", "r.json", cwd=crop.parent)
    out, err = done.communicate(timeout=120)
    assert (done.returncode, err) == (0, "")
    assert "cropped" in out and "96 x 96 of 101 x 99" in out and "to the bit: yes" in out

    found = json.loads((crop.parent / "r.json").read_text())
    assert {
        "psnr", "ssim", "training_samples_per_second", "reconstruction_blocks_per_second",
        "gflops", "share_of_peak", "homogeneous_to_the_bit", "seconds", "config",
    } <= set(found)  # fmt: skip
    assert set(found["psnr"]) == set(found["ssim"]) == NAMES
    assert all(15 < value < 60 for value in found["psnr"].values())
    assert all(0.2 < value < 1 for value in found["ssim"].values())
    assert found["homogeneous_to_the_bit"] is True and found["seconds"] == 1
    assert found["interrupted"] is False
    assert found["training_samples_per_second"] > 0 and found["gflops"] > 0
    assert found["reconstruction_blocks_per_second"] > 0
    assert found["share_of_peak"] is None or found["share_of_peak"] > 0
    assert abs(found["psnr"]["one_hidden"] - found["psnr"]["linear"]) < 0.15
    for name in NAMES:
        assert f"{found['psnr'][name]:.2f} dB" in out
    with Image.open(crop.parent / "recover.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 600


@pytest.mark.parametrize(
    ("shape", "arguments", "word"),
    [
        ((3, 5), ["--block", "2", "--ratio", "0.5"], "cropped"),
        ((3, 5), ["--block", "4", "--ratio", "1"], "padded"),
    ],
)
def test_tiny_images(capsys, tmp_path, shape, arguments, word):
    path, out, numbers = (tmp_path / name for name in ("tiny.png", "tiny.svg", "tiny.json"))
    Image.fromarray(np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)).save(path)
    files = ["--output", str(out), "--json", str(numbers)]
    assert main(["recover", str(path), "--seconds", "0.1", *arguments, *files]) == 0
    printed = capsys.readouterr()
    assert word in printed.out and printed.err == ""
    assert "<svg" in out.read_text()
    found = json.loads(numbers.read_text())
    assert found["homogeneous_to_the_bit"] is True
    assert all(value is None or math.isfinite(value) for value in found["ssim"].values())


@pytest.mark.parametrize(
    "operator, arguments",
    [
        ("rademacher", []),
        ("cosine", []),
        ("hadamard", ["--block", "6", "--ratio", "0.1"]),
        ("sparse", ["--block", "6", "--ratio", "0.1"]),
    ],
    ids=str,
)
def test_every_operator(capsys, crop, operator, arguments):
    """Also where blocks have 36 pixels, no power of two, and 3 measurements beside the mean."""
    out, numbers = crop.with_suffix(".svg"), crop.with_suffix(".json")
    files = ["--output", str(out), "--json", str(numbers)]
    chosen = ["--operator", operator, "--seconds", "0.3", *arguments]
    assert main(["recover", str(crop), *chosen, *files]) == 0
    assert operator in capsys.readouterr().out
    found = json.loads(numbers.read_text())
    assert found["homogeneous_to_the_bit"] is True and found["config"]["operator"] == operator
    assert all(15 < value < 60 for value in found["psnr"].values())
    assert abs(found["psnr"]["one_hidden"] - found["psnr"]["linear"]) < 0.3


def wait_for_training(process):
    for line in process.stdout:
        if line.startswith("training two hidden layers ("):
            time.sleep(0.7)
            return
    raise AssertionError("training did not begin")


def test_interrupted_training_leaves_with_what_was_trained(crop):
    process = start("recover", crop, "--seconds", 300, "--json", "r.json", cwd=crop.parent)
    wait_for_training(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err and err.strip().count("\n") == 0
    assert "interrupted" in out and "not trained" in out
    found = json.loads((crop.parent / "r.json").read_text())
    assert found["interrupted"] is True
    assert found["training"]["two_hidden"]["steps"] > 0 == found["training"]["one_hidden"]["steps"]
    assert found["psnr"]["one_hidden"] == pytest.approx(found["psnr"]["linear"], abs=1e-3)
    assert (crop.parent / "recover.png").exists()


def test_second_interruption_leaves_at_once_and_a_terminal_has_a_bar(crop):
    terminal, stderr = pty.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    process = start("recover", crop, "--seconds", 300, cwd=crop.parent, stderr=stderr)
    os.close(stderr)
    wait_for_training(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.returncode == 130
    assert b"two hidden layers" in shown and b"300 s" in shown
    assert b"Traceback" not in shown


def test_interruption_before_training_is_silent(crop):
    process = start("recover", crop, "--seconds", 300, cwd=crop.parent)
    assert process.stdout.readline().startswith("crop: ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert os.listdir(crop.parent) == ["crop.png"]
