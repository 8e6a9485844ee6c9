"""Grids: what crosses, what goes in pairs, what is refused and how."""

from importlib.resources import files

import pytest

from sim.options import OptionError
from sim.sweep.grid import read_grid


@pytest.fixture
def grid(tmp_path):
    def written(text):
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return read_grid(path)

    return written


def test_lists_cross_and_the_last_changes_fastest_but_for_seeds(grid):
    settings = grid('seeds = 2\nrps = [5, 10]\npolicy = ["saber", "static(8)"]\nn = 7').settings

    assert [(s["rps"], s["policy"], s["seed"], s["n"]) for s in settings] == [
        (rps, policy, seed, 7)
        for rps in (5, 10)
        for policy in ("saber", "static(8)")
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("", [0]),
        ("seeds = 3", [0, 1, 2]),
        ("seeds = 2\nfirst_seed = 7", [7, 8]),
        ("seed = [4, 2]", [4, 2]),
        ("[[zip]]\nseed = [5, 6]\nrps = [1, 2]", [5, 6]),
    ],
)
def test_seeds(grid, text, seeds):
    assert [setting["seed"] for setting in grid(text).settings] == seeds


def test_tables_cross_inside_and_may_be_items_of_a_list(grid):
    crossed = grid("[clients]\ntimeout_s = [5, 10]\nretries = [0, 3]").settings
    assert [(s["clients.timeout_s"], s["clients.retries"]) for s in crossed] == [
        (5, 0),
        (5, 3),
        (10, 0),
        (10, 3),
    ]
    listed = grid('clients = ["none", {timeout_s = 5}, {retries = [1, 2]}]').settings
    assert [{k: v for k, v in s.items() if k != "seed"} for s in listed] == [
        {"clients": "none"},
        {"clients.timeout_s": 5},
        {"clients.retries": 1},
        {"clients.retries": 2},
    ]


def test_zip_advances_together_and_crosses_with_the_rest(grid):
    text = "rps = [1, 2]\n[[zip]]\nreplicas = [1, 2]\nn = [10, 20]\nclients.retries = [0, 3]\n"
    settings = grid(text).settings

    assert [(s["rps"], s["replicas"], s["n"], s["clients.retries"]) for s in settings] == [
        (1, 1, 10, 0),
        (1, 2, 20, 3),
        (2, 1, 10, 0),
        (2, 2, 20, 3),
    ]


def test_either_is_a_union_whose_parts_have_keys_of_their_own(grid):
    text = """
    n = 5
    [[either]]
    workload = ["W1", "W3"]
    rps = [1, 2]
    [[either]]
    trace = "a.csv"
    """
    settings = grid(text).settings

    assert [s.get("workload", s.get("trace")) for s in settings] == [
        "W1",
        "W1",
        "W3",
        "W3",
        "a.csv",
    ]
    assert "rps" not in settings[-1]


def test_the_example_is_a_grid(grid):
    text = files("sim.sweep").joinpath("example.toml").read_text()

    assert len(grid(text).settings) == 2 * 2 * 3 * 2 * 10


def test_every_part_of_the_example_that_is_commented_out_is_known(grid):
    text = files("sim.sweep").joinpath("example.toml").read_text()
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        if line.startswith("# ") and " = " in bare and not bare.startswith(("scaler", "timeout")):
            name = bare.split(" = ")[0]
            if name.isidentifier() and name not in ("retries", "max_replicas", "ttft", "tpot"):
                grid(bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rps = ", "not a TOML file"),
        ("polices = 1", "unknown key 'polices', did you mean 'policy'?"),
        ("[clients]\ntimeot_s = 1", "[clients]: unknown key 'timeot_s', did you mean 'timeout_s'?"),
        ("rps = []", "rps = []: expected at least one value"),
        ("rps = [[1], 2]", "rps = [[1], 2]: expected values, not lists in a list"),
        ("rps = {a = 1}", "rps = {'a': 1}: expected a value or a list of values"),
        ("rps = nan", "rps = nan: expected a finite number"),
        ("rps = 2020-01-01", "rps = 2020-01-01: expected a number, a text, true or false"),
        ("seeds = 0", "seeds = 0: expected a whole number of at least 1"),
        ("seeds = 2\nseed = 3", "seeds = 2 has no effect beside seed"),
        ("first_seed = -1", "first_seed = -1: expected a whole number of at least 0"),
        ("[[zip]]\nrps = [1, 2]\nn = [1]", "[[zip]] 1: expected lists of one length, found 2 of"),
        ("[[zip]]\nrps = 1", "[[zip]] 1: rps = 1: expected a list"),
        ("zip = 3", "zip = 3: expected tables, each begun by [[zip]]"),
        ("rps = 1\n[[zip]]\nrps = [1]", "rps stands in [[zip]] 1 and rps at the top"),
        (
            'clients = "none"\n[[zip]]\nclients.retries = [1]',
            "clients.retries stands in [[zip]] 1 and clients at the top",
        ),
        ("seed = [" + "1," * 3000 + "]\nn = [" + "1," * 3000 + "]", "9,000,000 cells: expected"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(grid, text, message):
    with pytest.raises(OptionError) as caught:
        grid(text)
    assert message in str(caught.value)
    assert "grid.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
