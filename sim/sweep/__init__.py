"""Sweeps: every cell of a grid run once, kept whatever happens, the same bytes on any cluster."""
