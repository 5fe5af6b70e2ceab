"""The job from the image to the numbers: measure, train, recover, compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homfast.recovery import blocks, data, devices, estimators, images, networks, training
from homfast.recovery.sensing import Estimator, Measurements, Sensor
from homfast.recovery.settings import Settings

LABELS = {
    "classical": "classical (lasso, DCT)",
    "linear": "linear (LMMSE)",
    "one_hidden": "one hidden layer",
    "two_hidden": "two hidden layers",
}
NAMES = tuple(LABELS)
Announce = Callable[[str], None]


@dataclass
class Outcome:
    """What a run found.

    Attributes
    ----------
    recovered : dict of str to float32 array, shape (height, width)
        The image by each of `NAMES`, clipped to 0 ... 255 as an image file would be.
    psnr, ssim : dict of str to float
        Of `recovered`; psnr is inf for an exact recovery, ssim nan for less than 3 x 3 pixels.
    runs : dict of str to training.Run
        How the networks' trainings went.
    blocks_per_second : float
        Recovered by the two-hidden-layer network.
    peak_gflops : float or None
        Of float32 multiply-adds, measured before, between and after the trainings; the best, for a
        busy machine shows less. None without compiled kernels.
    homogeneous : bool
        Whether f(2 y) == 2 f(y) to the bit, for each network and each recovered image.
    """

    settings: Settings
    name: str
    original: np.ndarray
    training_images: tuple[str, ...] = ()
    widths: dict[str, tuple[int, ...]] = field(default_factory=dict)
    recovered: dict[str, np.ndarray] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
    runs: dict[str, training.Run] = field(default_factory=dict)
    blocks_per_second: float = 0.0
    peak_gflops: float | None = None
    homogeneous: bool = False
    interrupted: bool = False

    @property
    def blocks(self) -> int:
        """How many blocks the image has."""
        return self.original.size // self.settings.pixels


def load(settings: Settings) -> tuple[Outcome, list[str]]:
    """Read the image and fit it to blocks: the part that can fail for the image's sake.

    Returns
    -------
    outcome : Outcome
        With the original and no results yet.
    notes : list of str
        What was done to the image.

    Raises
    ------
    OSError, ValueError
        As `homfast.recovery.images.read_gray`.
    """
    path = settings.image or data.shipped(data.TEST_IMAGE)
    image, note = images.read_gray(path)
    fitted, fit_note = blocks.fit_to_blocks(image, settings.block)
    return Outcome(settings, path.stem, fitted), [each for each in (note, fit_note) if each]


def run(outcome: Outcome, announce: Announce) -> None:
    """Train the estimators and fill in what they recover.

    Parameters
    ----------
    outcome : Outcome
        Of `load`; its other fields are filled in.
    announce : callable
        Gets a line at each stage.
    """
    settings = outcome.settings
    device = devices.find(settings.device)
    sensor = Sensor(settings, device)
    pictures = data.training_images(outcome.original)
    outcome.training_images = tuple(pictures)
    sampler = data.PatchSampler(list(pictures.values()), settings.block, settings.seed)
    statistics = estimators.Statistics(sensor.operator, sampler)
    found: dict[str, Any] = {
        "classical": estimators.SparseEstimator(
            sensor.operator, statistics, sampler, settings.block
        ),
        "linear": device.estimator(estimators.linear_estimator(statistics)),
    }
    found |= _train(outcome, device, sensor, statistics, sampler, announce)
    announce(f"recovering {outcome.blocks:,} blocks")
    measurements = sensor.measure(blocks.cut(outcome.original, settings.block))
    for name in NAMES:
        rows = sensor.recover(measurements, found[name])
        image = blocks.assemble(rows, outcome.original.shape, settings.block)
        outcome.recovered[name] = np.clip(image, 0, 255)
        outcome.psnr[name] = _psnr(outcome.original, outcome.recovered[name])
        outcome.ssim[name] = _ssim(outcome.original, outcome.recovered[name])
    networks_found = [found[name] for name in NAMES[1:]]
    outcome.homogeneous = all(is_homogeneous(sensor, measurements, f) for f in networks_found)
    outcome.blocks_per_second = _blocks_per_second(sensor, measurements, found["two_hidden"])


def _train(
    outcome: Outcome,
    device: devices.Cpu,
    sensor: Sensor,
    statistics: estimators.Statistics,
    sampler: data.PatchSampler,
    announce: Announce,
) -> dict[str, Estimator]:
    """Train the two networks for the same time, the deeper first: Ctrl-C should cost the least."""
    settings = outcome.settings
    found = {}
    peaks = [measured_peak_gflops(device)]
    outcome.widths = networks.hidden_widths(settings.measurements - 1)
    with training.Interruption() as interruption:
        for name in ("two_hidden", "one_hidden"):
            hidden = outcome.widths[name]
            label = f"{LABELS[name]} ({' and '.join(map(str, hidden))} units)"
            net = device.network(networks.linear_start(statistics, hidden, settings.seed))
            if not interruption.requested:
                announce(f"training {label} for {settings.seconds:g} s")
            outcome.runs[name] = training.train(
                net,
                sensor.operator,
                statistics,
                sampler,
                settings.seconds,
                interruption,
                label,
                device,
            )
            peaks.append(measured_peak_gflops(device))
            trained = device.host_network(net)
            found[name] = device.estimator(networks.for_raw_measurements(trained, statistics))
        outcome.interrupted = interruption.requested
    outcome.peak_gflops = max((peak for peak in peaks if peak), default=None)
    return found


def measured_peak_gflops(device: devices.Cpu) -> float | None:
    """What the multiply-add units of this machine reach now, None if that cannot be measured."""
    if device.name != "cpu":
        return None
    try:
        from homfast.bench.peak import measured_peak
    except ImportError:
        return None
    peaks = [measured_peak(dtype="float32") for _ in range(3)]
    return max((peak * 1e-9 for peak in peaks if peak), default=None)


def is_homogeneous(sensor: Sensor, measurements: Measurements, net: Estimator) -> bool:
    """Whether f(2 y) == 2 f(y) to the bit, for the network and for the whole image."""
    double = measurements.scaled(2.0)
    same_rows = np.array_equal(net(double.detail), 2 * net(measurements.detail))
    recovered = sensor.recover(measurements, net)
    return same_rows and np.array_equal(sensor.recover(double, net), 2 * recovered)


def _blocks_per_second(sensor: Sensor, measurements: Measurements, net: Any) -> float:
    sensor.recover(measurements, net)
    count = 0
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < 0.3:
        sensor.recover(measurements, net)
        count += len(measurements.mean)
    return count / passed


def _psnr(original: np.ndarray, recovered: np.ndarray) -> float:
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):  # an exact recovery is inf
        return float(peak_signal_noise_ratio(original, recovered, data_range=255))


def _ssim(original: np.ndarray, recovered: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    side = min(7, *original.shape)  # the window: 7 is scikit-image's own, and it must be odd
    if side < 3:
        return float("nan")
    window = side - 1 + side % 2
    return float(structural_similarity(original, recovered, win_size=window, data_range=255))
