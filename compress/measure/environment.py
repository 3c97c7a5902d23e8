"""What the figures were measured on."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil
import torch

from compress.interfaces import Device
from compress.records import Environment

LIBRARIES = (
    "torch", "transformers", "tokenizers", "datasets", "numpy", "hydra-core", "omegaconf", "optuna"
)  # fmt: skip
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
    """The machine, the device and the versions of the libraries that shape the figures."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return Environment(
        machine=machine(),
        device=device.label(),
        load_average=os.getloadavg()[0] if "getloadavg" in dir(os) else None,
        versions={"python": platform.python_version(), **versions},
    )


@functools.cache
def machine() -> str:
    """Processor, cores, instruction sets and GPU; no host name."""
    facts = _cpu_facts()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    sets = [label for flag, label in INSTRUCTION_SETS.items() if flag in flags]
    name = facts.get("model name") or platform.processor() or platform.machine()
    # Clouds shorten the name to "AMD EPYC"; family and model tell the generations apart.
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']} model {facts['model']})"
    parts = [name, f"{cores} cores", " ".join(sets)]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(part for part in parts if part)


def _cpu_facts() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
