"""Real data that comes in installed packages; nothing is fetched."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def digits() -> np.ndarray:
    """Handwritten digits of scikit-learn, rows (1797, 64), values 0 to 1."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data, np.float64) / 16.0


def ecg() -> np.ndarray:
    """An electrocardiogram of PyWavelets, 1024 samples, less its mean, largest value 1."""
    import pywt

    signal = np.asarray(pywt.data.ecg(), np.float64)
    signal -= signal.mean()
    return signal / np.abs(signal).max()


def camera() -> np.ndarray:
    """The cameraman of PyWavelets, (512, 512), values 0 to 1."""
    import pywt

    return np.asarray(pywt.data.camera(), np.float64) / 255.0


def mri() -> np.ndarray:
    """The MRI slice of a head of Matplotlib, (256, 256), values 0 to 1."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "s1045.ima.gz"
    with gzip.open(path) as file:
        image = np.frombuffer(file.read(), np.uint16).astype(np.float64).reshape(256, 256)
    return image / image.max()


def indian_pines() -> np.ndarray:
    """The hyperspectral scene of TensorLy, (145, 145, 200), largest value 1."""
    import tensorly.datasets

    path = Path(tensorly.datasets.__file__).parent / "data" / "Indian_pines_corrected.npy"
    scene = np.load(path, allow_pickle=False).astype(np.float64)
    return scene / scene.max()
