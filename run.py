"""Compresses a transformer and measures it: `python run.py pruner=wanda`; `-m` sweeps."""

from __future__ import annotations

from compress.cli import main

if __name__ == "__main__":
    main()
