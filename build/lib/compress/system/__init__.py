"""Disk, downloads, processes, the terminal and installed packages."""
