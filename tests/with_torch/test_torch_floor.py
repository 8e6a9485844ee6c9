"""What the hardware itself gives is measured, not assumed."""

import time
from itertools import chain, cycle

import pytest
import torch

from calibrate import torch_floor
from calibrate.torch_floor import best_s, measure_hardware

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_figures_are_those_of_a_computer(dtype):
    hardware = measure_hardware(CPU, dtype)
    assert 1e9 <= hardware.bytes_per_s <= 1e13
    assert 1e9 <= hardware.flop_per_s <= 1e16
    assert 1e-8 <= hardware.launch_s <= 1e-3


def test_the_best_of_several_runs_counts_and_the_first_does_not():
    seconds = chain([0.0], cycle([0.03, 0.01, 0.02]))
    assert 0.01 <= best_s(CPU, lambda: time.sleep(next(seconds))) < 0.02


def test_short_work_is_repeated_more_often():
    runs = []
    best_s(CPU, lambda: runs.append(time.sleep(0.001)))
    assert len(runs) > 20


def test_rates_count_bytes_both_ways_and_multiplications_with_additions(monkeypatch):
    # Every piece of work takes a second.
    monkeypatch.setattr(torch_floor, "best_s", lambda device, work: 1.0)
    monkeypatch.setattr(torch_floor, "PRODUCTS", {"cpu": ((2, 3, 5), (3, 5, 7))})
    hardware = measure_hardware(CPU, "fp32", 4096)
    assert hardware.bytes_per_s == 4096
    assert hardware.flop_per_s == 2 * 3 * 5 * 7
    assert hardware.launch_s == 1 / torch_floor.LAUNCHES
