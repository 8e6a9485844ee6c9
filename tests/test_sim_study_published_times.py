"""The embedded completion times against the records they were taken from."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from sim.study.published_times import COMPLETION_DECILES_S, DECILES_PCT, SLA_RATIOS
from sim.study.runs import RATES

RECORDS = Path(__file__).parents[2] / "shared/data/saber_artifact/saber_requests.csv"


@pytest.fixture(scope="module")
def records():
    if not RECORDS.exists():
        pytest.skip(f"the study's measurements are not here: {RECORDS.name}")
    with RECORDS.open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("workload", SLA_RATIOS)
def test_sla_ratios_are_those_of_the_records(records, workload):
    for place, rps in enumerate(RATES):
        ratios = [
            float(row["total_s"]) / float(row["sla_s"])
            for row in records
            if row["workload"] == workload and float(row["rps"]) == rps
        ]
        assert SLA_RATIOS[workload].mean[place] == pytest.approx(np.mean(ratios), abs=6e-4)
        assert SLA_RATIOS[workload].std[place] == pytest.approx(np.std(ratios), abs=6e-4)


@pytest.mark.parametrize("key", COMPLETION_DECILES_S)
def test_deciles_are_those_of_the_records(records, key):
    times_s = sorted(
        float(row["total_s"])
        for row in records
        if (row["workload"], float(row["rps"]), row["task"]) == key
    )
    deciles = [times_s[math.ceil(share * len(times_s) / 100) - 1] for share in DECILES_PCT]
    assert COMPLETION_DECILES_S[key] == pytest.approx(deciles, abs=6e-3)
