"""Reasons belong to cells that were published, and say how sure they are."""

from sim.study.published import saber_goodput_pct
from sim.study.reasons import SABER_REASONS


def test_every_reason_is_of_a_published_cell_and_says_how_sure_it_is():
    for (workload, rps), reason in SABER_REASONS.items():
        assert rps in saber_goodput_pct(workload)
        assert reason.split(":")[0] in ("likely", "partly", "not known")


def test_the_gap_on_w3_from_9_rps_on_has_a_reason_at_every_rate():
    assert {("W3", rps) for rps in saber_goodput_pct("W3") if rps >= 9} <= set(SABER_REASONS)
