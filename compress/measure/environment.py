"""The measurement environment: machine, device and library versions."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import platform
import time
from pathlib import Path

import psutil
import torch

from compress.interfaces import Device
from compress.records.schema import Environment
from compress.system.processes import family_seconds

log = logging.getLogger(__name__)

LIBRARIES = (
    "torch", "transformers", "tokenizers", "datasets", "numpy", "hydra-core", "omegaconf", "optuna"
)  # fmt: skip
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
WINDOW_SECONDS = 0.2
# Kernels count time in hundredths of a second: below this share of one processor it is noise, and
# what a resting machine does besides.
BUSY_PROCESSORS = 0.25
# Instruction sets that decide how fast int8 and bfloat16 run, by the name Linux gives them.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "BF16",
    "amx_int8": "AMX-INT8",
    "amx_bf16": "AMX-BF16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "bf16": "BF16",
}


def environment(device: Device) -> Environment:
    """The machine, the device and the versions of the libraries that affect measurements.

    Warns in the log if the machine is busy; takes `WINDOW_SECONDS`.
    """
    occupied = busy()
    if occupied is not None:
        log.warning("the machine is busy, timings will be unreliable: %s", occupied)
    return Environment(
        machine=machine(),
        device=device.label(),
        load_average=os.getloadavg()[0] if "getloadavg" in dir(os) else None,
        versions=versions(device),
        busy=occupied,
        governor=_governor(),
    )


def versions(device: Device | None = None) -> dict[str, str]:
    """Versions of Python and of what affects measurements; without a device, those in torch."""
    names = (*LIBRARIES, *(device.runtime.libraries if device else ()))
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def busy() -> str | None:
    """Describes other load on the processors; None if there is none.

    Not the load average: that of a minute has the run before in it. Time that a hypervisor gives
    to other machines counts; what this command's own processes do meanwhile, such as importing
    libraries, does not.
    """
    count = psutil.cpu_count() or 1
    started, before = time.perf_counter(), family_seconds()
    share = psutil.cpu_percent(interval=WINDOW_SECONDS) / 100 * count
    seconds = time.perf_counter() - started
    own = sum(spent - before.get(each, 0.0) for each, spent in family_seconds().items())
    others = share - own / seconds
    if others < BUSY_PROCESSORS:
        return None
    return f"other processes used {others:.1f} of {count} CPU cores when the run began"


@functools.cache
def machine() -> str:
    """Processor, cores, hardware threads if more, instruction sets and GPU; no host name."""
    facts = _cpu_facts()
    logical = psutil.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or logical
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    sets = [label for flag, label in INSTRUCTION_SETS.items() if flag in flags]
    name = facts.get("model name") or platform.processor() or platform.machine()
    # Clouds shorten the name to "AMD EPYC"; family and model tell the generations apart.
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']} model {facts['model']})"
    threads = f"{logical} threads" if logical > cores else ""
    parts = [name, f"{cores} cores", threads, " ".join(sets)]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(part for part in parts if part)


def _governor() -> str | None:
    """The kernel's CPU frequency governor; None if unknown."""
    try:
        return GOVERNOR.read_text().strip()
    except OSError:
        return None


def _cpu_facts() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty if there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
