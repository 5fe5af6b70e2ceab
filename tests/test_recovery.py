"""What ``homfast recover`` is made of: images, blocks, training patches, estimators."""

import numpy as np
import pytest

import homfast

pytest.importorskip("PIL", reason="needs homfast[demo]")
pytest.importorskip("skimage", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")

from PIL import Image

from homfast.recovery import blocks, data, estimators, job, networks
from homfast.recovery.images import read_gray
from homfast.recovery.sensing import Sensor
from homfast.recovery.settings import Settings


@pytest.fixture(scope="module")
def camera():
    image, _ = read_gray(data.shipped(data.TEST_IMAGE))
    return image


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


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_images_of_too_many_pixels_are_refused(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(GRAY).save(path)
    assert read_gray(path, most_pixels=GRAY.size)[0].shape == GRAY.shape
    with pytest.raises(ValueError, match=r"has 12 x 20 pixels, wanted 239 at most; scale it down"):
        read_gray(path, most_pixels=GRAY.size - 1)


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    """20 kB of one bit each: 13,000 x 13,000 pixels."""
    Image.new("1", (13_000, 13_000)).save(tmp_path / "image.png")
    with pytest.raises(ValueError, match=r"has 13,000 x 13,000 pixels, wanted 67,108,864 at most"):
        read_gray(tmp_path / "image.png")


def test_tiff_of_too_many_pixels_that_only_tifffile_reads_is_refused(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "pages.tif", np.float64([GRAY / 255, GRAY / 510]))
    with pytest.raises(ValueError, match=r"12 x 20 pixels, wanted 100 at most"):
        read_gray(tmp_path / "pages.tif", most_pixels=100)
    tifffile.imwrite(
        tmp_path / "samples.tif", np.zeros((9, 9, 5)), photometric="rgb", extrasamples=(0, 0)
    )
    with pytest.raises(ValueError, match="wanted gray, RGB or RGBA"):
        read_gray(tmp_path / "samples.tif")


def test_images_for_which_pillow_would_start_a_program_are_refused(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "image.eps")
    with pytest.raises(ValueError, match="is not an image that Pillow or tifffile reads"):
        read_gray(tmp_path / "image.eps")


def test_images_larger_than_a_band_are_converted_as_a_whole(tmp_path):
    wide = np.random.default_rng(1).integers(0, 256, (700, 300, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "image.png")
    wanted = wide.astype(np.float32) @ np.float32([0.2125, 0.7154, 0.0721])
    np.testing.assert_allclose(read_gray(tmp_path / "image.png")[0], wanted, atol=1e-4)


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
    image = (np.arange(40 * 30, dtype=np.float32).reshape(40, 30) * 37) % 251
    sampler = data.PatchSampler([image], 8, seed=3)
    patches = sampler.draw(257)
    assert patches.shape == (257, 64) and patches.dtype == np.float32
    assert np.abs(patches.mean(axis=1)).max() < 1e-2
    half = image.reshape(20, 2, 15, 2).mean(axis=(1, 3)).round()
    known = set()
    for scale in (image, half):
        windows = np.lib.stride_tricks.sliding_window_view(scale, (8, 8)).reshape(-1, 64)
        known |= set(np.round(np.abs(windows - windows.mean(1, keepdims=True)).max(1), 3))
    assert set(np.round(np.abs(patches).max(1), 3)) <= known
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
