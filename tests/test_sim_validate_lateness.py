"""How late the driver itself is."""

import asyncio
import gc

import pytest
from live_cases import virtually

from sim.validate.lateness import Lateness, LoopWatch, ended, lateness_of, undisturbed


def test_a_loop_that_is_held_up_is_late_for_every_tick_in_it():
    async def watched():
        loop = asyncio.get_running_loop()
        watch = LoopWatch(loop.time)
        task = asyncio.create_task(watch.watch())
        await asyncio.sleep(0.985)
        loop._virtual.now_s += 0.1  # from 0.985 to 1.085: ten ticks of 10 ms are missed
        await asyncio.sleep(0.915)
        await ended(task)
        return watch

    watch = virtually(watched())
    assert watch.lateness.p50_s == pytest.approx(0, abs=1e-9)
    assert watch.lateness.max_s == pytest.approx(0.095)
    late = [each for each in watch._late_s if each > 1e-6]
    assert late == pytest.approx([0.095 - 0.01 * k for k in range(10)])
    assert len(watch._late_s) == pytest.approx(200, abs=2)


def test_numbers_of_some_delays():
    found = lateness_of([0.0] * 98 + [0.006] * 2)
    assert (found.p50_s, found.max_s) == (0.0, 0.006)
    assert found.is_late
    assert lateness_of([]) == Lateness(None, None, None)
    assert not Lateness().is_late


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_as_it_was_afterwards(enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ValueError, match="inside"), undisturbed():
            assert not gc.isenabled()
            assert gc.get_freeze_count() > 0
            raise ValueError("inside")
        assert gc.isenabled() is enabled
        assert gc.get_freeze_count() == 0
    finally:
        (gc.enable if before else gc.disable)()
