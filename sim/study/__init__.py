"""The SABER study again: its cells simulated, its figures drawn, its numbers beside ours."""
