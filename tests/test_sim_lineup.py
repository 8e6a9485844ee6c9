"""Who takes part when all policies are asked for."""

from policies.catalog import POLICIES
from sim.lineup import lineup


def test_all_are_all():
    assert [text for text in lineup("all") if not text.startswith("static")] == [
        name for name in POLICIES if name != "static"
    ]
    assert [f"static({size})" for size in range(10, 101, 10)] == [
        text for text in lineup("all") if text.startswith("static")
    ]
    assert lineup("all, mine:policy")[-1] == "mine:policy"
    assert lineup("saber(lpq=all), static(8)") == ["saber(lpq=all)", "static(8)"]
