"""What a number was measured on."""

import platform
from importlib.metadata import version

import torch


def machine() -> dict[str, str | int]:
    """Processor, threads and versions."""
    return {
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("restore-env", "torch", "numpy", "opencv-python-headless", "gymnasium")},
    }
