"""Compresses a transformer and measures it: `python run.py pruner=wanda`; `-m` sweeps."""

from __future__ import annotations

from compress.__main__ import main

if __name__ == "__main__":
    main()
