"""The command line, and the main job behind ``homfast recover``."""

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

import homfast
from homfast.cli import main

pytest.importorskip("PIL", reason="needs homfast[demo]")
pytest.importorskip("skimage", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")
pytest.importorskip("matplotlib", reason="needs homfast[demo]")

from PIL import Image

from homfast.recovery import blocks, data, estimators, job, networks
from homfast.recovery.images import read_gray
from homfast.recovery.sensing import Sensor
from homfast.recovery.settings import Settings

NAMES = {"linear", "one_hidden", "two_hidden", "classical"}


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


@pytest.fixture(scope="module")
def camera():
    image, _ = read_gray(data.shipped(data.TEST_IMAGE))
    return image


@pytest.fixture
def crop(camera, tmp_path):
    """A small photograph whose sides are no multiples of 8."""
    path = tmp_path / "crop.png"
    Image.fromarray(camera[100:199, 200:301].astype(np.uint8)).save(path)
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
        done = start(command, cwd=tmp_path, env=environment)
        out, err = done.communicate(timeout=60)
        check_one_line(done.returncode, out, err, "HOMFAST_BACKEND", "abacus")


# info, --version ----------------------------------------------------------------------------------


def test_version_and_help(capsys):
    assert run_here(capsys, "--version") == (0, f"homfast {homfast.__version__}\n", "")
    code, out, err = run_here(capsys, "--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in ("recover", "bench", "info"))
    code, out, _ = run_here(capsys, "recover", "--help")
    assert code == 0 and all(word in out for word in ("IMAGE", "--ratio", "--json", "40"))


def test_info_for_people_and_for_programs(capsys):
    code, out, err = run_here(capsys, "info")
    assert (code, err) == (0, "")
    assert homfast.__version__ in out and "reference: available" in out
    code, out, err = run_here(capsys, "info", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(homfast.show_config(mode="dicts"), default=str))


# Images and blocks --------------------------------------------------------------------------------

GRAY = np.linspace(0, 255, 20 * 12).round().astype(np.uint8).reshape(20, 12)
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=2)
LUMA = COLOUR @ np.array([0.2125, 0.7154, 0.0721])


def transparent_palette():
    image = Image.fromarray(GRAY).convert("P")
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("image", "suffix", "wanted"),
    [
        (lambda: Image.fromarray(GRAY), "png", GRAY),
        (lambda: Image.fromarray(COLOUR), "png", LUMA),
        (lambda: Image.fromarray(np.dstack([COLOUR, GRAY * 0 + 255])), "png", LUMA),
        (lambda: Image.fromarray(np.dstack([COLOUR, GRAY * 0])), "png", GRAY * 0 + 255.0),
        (lambda: Image.fromarray(np.dstack([GRAY, GRAY * 0 + 255])), "png", GRAY),
        (lambda: Image.fromarray(GRAY).convert("P"), "gif", GRAY),
        (lambda: Image.fromarray(GRAY > 100), "png", (GRAY > 100) * 255.0),
        (lambda: Image.fromarray(GRAY.astype(np.uint16) * 257), "png", GRAY),
        (lambda: Image.fromarray(GRAY.astype(np.uint16) * 257), "tif", GRAY),
        (lambda: Image.fromarray(GRAY.astype(np.int32) * 257 + 300_000), "tif", GRAY),
        (lambda: Image.fromarray(np.float32(GRAY / 255)), "tif", GRAY),
        (lambda: Image.fromarray(np.float32(GRAY)), "tif", GRAY),
        (lambda: Image.fromarray(np.float32(GRAY) * 1e5 - 1e6), "tif", GRAY),
        (lambda: Image.fromarray(np.full((9, 9), -3.0, np.float32)), "tif", np.zeros((9, 9))),
    ],
    ids=[
        "gray", "rgb", "rgba", "all transparent", "gray alpha", "palette", "1 bit", "16 bit",
        "16 bit tiff", "32 bit", "float 0 to 1", "float 0 to 255", "float", "constant",
    ],
)  # fmt: skip
def test_every_mode_becomes_gray_levels(tmp_path, image, suffix, wanted):
    path = tmp_path / f"image.{suffix}"
    image().save(path)
    levels, _ = read_gray(path)
    assert levels.dtype == np.float32
    np.testing.assert_allclose(levels, wanted, atol=0.02)


def test_modes_that_lose_colour_are_read(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    np.testing.assert_allclose(read_gray(tmp_path / "cmyk.jpg")[0], LUMA, atol=12)
    transparent_palette().save(tmp_path / "palette.png", transparency=0)
    assert read_gray(tmp_path / "palette.png")[0][0, 0] == 255


def test_tiff_that_only_tifffile_reads(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "rgb16.tif", COLOUR.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_allclose(read_gray(tmp_path / "rgb16.tif")[0], LUMA, atol=0.02)
    tifffile.imwrite(tmp_path / "pages.tif", np.float64([GRAY / 255, GRAY / 510]))
    np.testing.assert_allclose(read_gray(tmp_path / "pages.tif")[0], GRAY, atol=0.02)


@pytest.mark.parametrize(
    ("shape", "fitted", "word"),
    [((16, 24), (16, 24), ""), ((17, 31), (16, 24), "cropped"), ((1, 1), (8, 8), "padded"),
     ((3, 30), (8, 24), "padded by its edge and cropped")],
)  # fmt: skip
def test_images_are_fitted_to_blocks(shape, fitted, word):
    image = np.random.default_rng(0).random(shape, np.float32)
    result, note = blocks.fit_to_blocks(image, 8)
    assert result.shape == fitted
    assert note.startswith(word) and bool(note) == bool(word)
    np.testing.assert_array_equal(result[0], np.pad(image[0], (0, 8), mode="edge")[: fitted[1]])
    rows = blocks.cut(result, 8)
    np.testing.assert_array_equal(rows[0], result[:8, :8].ravel())
    np.testing.assert_array_equal(blocks.assemble(rows, fitted, 8), result)


# Training data ------------------------------------------------------------------------------------


def test_the_tested_image_is_no_training_image(camera):
    everything = data.training_images(camera)
    assert set(everything) == set(data.TRAINING_IMAGES)
    assert data.TEST_IMAGE not in everything
    cat, _ = read_gray(data.shipped("chelsea.png"))
    assert set(data.TRAINING_IMAGES) - set(data.training_images(cat)) == {"chelsea.png"}
    left, _ = read_gray(data.shipped("motorcycle_left.png"))
    part = left[150:300, 200:380] * 0.5 + 20
    assert set(data.TRAINING_IMAGES) - set(data.training_images(part)) == {
        "motorcycle_left.png",
        "motorcycle_right.png",
    }


def test_patches_come_from_the_images_and_have_no_mean():
    image = np.arange(40 * 30, dtype=np.float32).reshape(40, 30) ** 1.5
    sampler = data.PatchSampler([image], 8, seed=3)
    patches = sampler.draw(257)
    assert patches.shape == (257, 64) and patches.dtype == np.float32
    assert np.abs(patches.mean(axis=1)).max() < 1e-2
    half = image.reshape(20, 2, 15, 2).mean(axis=(1, 3))
    known = set()
    for scale in (image, half):
        windows = np.lib.stride_tricks.sliding_window_view(scale, (8, 8)).reshape(-1, 64)
        known |= set(np.round(np.abs(windows - windows.mean(1, keepdims=True)).max(1), 0))
    assert set(np.round(np.abs(patches).max(1), 0)) <= known
    again = data.PatchSampler([image], 8, seed=3).draw(257)
    np.testing.assert_array_equal(patches, again)


# Estimators ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(camera):
    settings = Settings(seed=5)
    pictures = [read_gray(data.shipped(name))[0] for name in ("coffee.png", "astronaut.png")]
    sensor, sampler = Sensor(settings), data.PatchSampler(pictures, 8, 5)
    measurements = sensor.measure(blocks.cut(camera[:128, :128], 8))
    return sensor, estimators.Statistics(sensor.operator, sampler), measurements


def test_linear_estimator_agrees_with_its_formula(prepared):
    sensor, statistics, _ = prepared
    matrix = np.asarray(sensor.operator.to_dense(), np.float64)
    covariance = statistics.covariance
    wanted = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T)
    np.testing.assert_allclose(statistics.linear, wanted, atol=2e-4 * np.abs(wanted).max())
    # Consistent with what was measured, as the conditional mean of a noiseless model is.
    np.testing.assert_allclose(matrix @ statistics.linear, np.eye(15), atol=1e-3)


@pytest.mark.parametrize("name", ["one_hidden", "two_hidden"])
def test_networks_start_at_the_linear_estimator(prepared, name):
    _, statistics, measurements = prepared
    hidden = networks.hidden_widths(15)[name]
    net = networks.for_raw_measurements(networks.linear_start(statistics, hidden, 0), statistics)
    assert net.widths == (15, *hidden, 64)
    linear = estimators.linear_estimator(statistics)(measurements.detail)
    np.testing.assert_allclose(net(measurements.detail), linear, atol=2e-5 * np.abs(linear).max())


@pytest.mark.parametrize("power", [-3, 1, 5])
def test_recovery_is_homogeneous_to_the_bit(prepared, power):
    sensor, statistics, measurements = prepared
    start = networks.linear_start(statistics, (96, 80), 0)
    generator = np.random.default_rng(0)
    noisy = [w + 0.1 * generator.standard_normal(w.shape, np.float32) for w in start.weights]
    net = networks.for_raw_measurements(homfast.ReLUNetwork(noisy), statistics)
    assert job.is_homogeneous(sensor, measurements, net)
    factor = 2.0**power
    recovered = sensor.recover(measurements, net)
    scaled = sensor.recover(measurements.scaled(factor), net)
    np.testing.assert_array_equal(scaled, np.float32(factor) * recovered)
    # The measurement itself is exact under scaling too: from image to image.
    image = blocks.cut(np.float32(np.arange(64 * 64) % 251).reshape(64, 64), 8)
    twice = sensor.measure(2 * image)
    for ours, wanted in zip(twice, sensor.measure(image).scaled(2.0), strict=True):
        np.testing.assert_array_equal(ours, wanted)


# The whole job ------------------------------------------------------------------------------------


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
    Image.fromarray(GRAY[: shape[0], : shape[1]]).save(path)
    code, printed, err = run_here(
        capsys, "recover", path, "--seconds", 0.1, *arguments, "--output", out, "--json", numbers
    )
    assert (code, err) == (0, "")
    assert word in printed
    assert "<svg" in out.read_text()
    found = json.loads(numbers.read_text())
    assert found["homogeneous_to_the_bit"] is True
    assert all(value is None or math.isfinite(value) for value in found["ssim"].values())


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
