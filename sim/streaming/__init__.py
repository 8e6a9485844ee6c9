"""Runs of traces that do not fit into memory."""
