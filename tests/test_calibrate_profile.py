"""Profiles: what a file may say, how it is refused, and that nothing is lost on the way."""

import copy
import dataclasses
import json
import os
import pickle
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrate import Profile, ProfileError, bundled_profiles, load_profile
from calibrate.profile import DISCIPLINES, METHODS, FitError
from calibrate.quality import coefficients
from calibrate.schema import json_text
from calibrate.steps import KINDS
from calibrate.steptime import PiecewiseLinear, StepCost

PAPER = "paper-qwen2.5-coder-3b"

GOOD = {
    "schema_version": 1,
    "name": "mine",
    "method": "torch",
    "date": "2026-02-03",
    "model": {"name": "tiny", "layers": 2},
    "sources": {"kv_tokens": "free memory"},
    "discipline": "chunked",
    "kv_tokens": 4096,
    "kv_source": "free memory after loading",
    "engine_overhead_s": None,
    "client_overhead_s": 0,
    "cost": {
        "decode": {
            "batch": [1, 2, 4],
            "step_s": [0.01, 0.011, 0.013],
            "context_batch": [1, 4],
            "context_token_s": [1e-7, 2e-7],
        },
        "prefill": {"tokens": [16, 256], "step_s": [0.01, 0.02], "attention_token2_s": 1e-10},
    },
    "fit": {"held_out": {"decode": {"mape": 1.5, "p95": 3, "max": 4.5}}, "in_sample": {}},
    "intervals": {
        "level_pct": 95,
        "cost.decode.step_s": [[0.009, 0.011], [0.01, 0.012], [0.013, 0.013]],
        "cost.decode.context_token_s": [[0, 2e-7], [1e-7, 3e-7]],
        "cost.prefill.attention_token2_s": [[0, 1e-9]],
    },
    "measured": {"batch": [1, 4], "context_tokens": [128, 2048]},
    "speed_points": [[1, 90.5], [2, 80], [4, 60.25]],
    "raw": [{"kind": "decode", "batch": 1, "median_s": 0.01}],
}


def changed(path, value):
    """Return GOOD with the entry at a dotted path replaced, or removed where value is `...`."""
    data = copy.deepcopy(GOOD)
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    inside = data
    for parent in parents:
        inside = inside[parent]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return data


def test_a_file_gives_the_profile_it_describes(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    for given_path in (path, str(path)):
        profile = load_profile(given_path)
        assert profile.name == "mine"
        assert profile.kv_tokens == 4096
        assert profile.discipline == "chunked"
        assert profile.engine_overhead_s is None
        assert profile.client_overhead_s == 0.0
        assert profile.speed_points == ((1.0, 90.5), (2.0, 80.0), (4.0, 60.25))
        assert profile.measured_batch == (1, 4)
        assert profile.measured_prefill_tokens is None
        assert profile.measured_context_tokens == (128, 2048)
        assert profile.fit["held_out"]["decode"] == FitError(mape=1.5, p95=3.0, max=4.5)
        assert profile.engine_overhead_request_s == 0.0
        assert profile.intervals == {
            "cost.decode.step_s": ((0.009, 0.011), (0.01, 0.012), (0.013, 0.013)),
            "cost.decode.context_token_s": ((0.0, 2e-7), (1e-7, 3e-7)),
            "cost.prefill.attention_token2_s": ((0.0, 1e-9),),
        }
        assert profile.cost.decode_s(2, 3000) == pytest.approx(0.011 + 3000 * (4 / 3) * 1e-7)
        assert profile.cost.prefill_s(136, 1e6) == pytest.approx(0.015 + 1e-4)


def test_optional_keys_may_be_left_out():
    optional = {"date", "model", "sources", "client_overhead_s", "fit", "measured"}
    optional |= {"speed_points", "raw", "intervals"}
    minimal = {key: value for key, value in GOOD.items() if key not in optional}
    minimal["cost"] = {
        "decode": {"batch": [1], "step_s": [0.01]},
        "prefill": {"tokens": [1], "step_s": [0]},
    }
    profile = Profile.from_dict(minimal)
    assert profile.cost.decode_coefficients(9) == (0.01, 0.0)
    assert profile.cost.attention_token2_s == 0.0
    assert profile.speed_points is None
    assert profile.client_overhead_s == 0.0
    assert profile.intervals == {}
    assert not {"intervals", "engine_overhead_request_s"} & profile.to_dict().keys()


BAD = [
    ("name", "", "name is '', expected a text that is not empty"),
    ("name", 3, "name is 3, expected a text"),
    ("method", "guessed", "method is 'guessed', expected one of published-fit, torch"),
    ("method", "torchh", "did you mean 'torch'?"),
    ("discipline", "chunky", "discipline is 'chunky', expected one of prefill-first, chunked; "),
    ("kv_tokens", 0, "kv_tokens is 0, expected an integer >= 1"),
    ("kv_tokens", 10.5, "kv_tokens is 10.5, expected an integer >= 1"),
    ("kv_tokens", True, "kv_tokens is True, expected an integer >= 1"),
    ("kv_tokens", ..., "the profile lacks the key 'kv_tokens'"),
    ("kv_source", " ", "kv_source is ' ', expected a text"),
    ("date", "yesterday", "date is 'yesterday', expected a date as 2026-01-31"),
    ("date", 20260131, "date is 20260131, expected a date as 2026-01-31"),
    ("engine_overhead_s", "1ms", "engine_overhead_s is '1ms', expected a finite number >= 0"),
    ("engine_overhead_s", -1, "engine_overhead_s is -1, expected a finite number >= 0"),
    ("engine_overhead_request_s", -1, "engine_overhead_request_s is -1, expected a finite number"),
    ("engine_overhead_request_s", None, "engine_overhead_request_s is None, expected a finite num"),
    (
        "engine_overhead_request_s",
        1e-5,
        "engine_overhead_request_s is 1e-05, expected 0, as engine_overhead_s is unknown; give bot",
    ),
    ("client_overhead_s", None, "client_overhead_s is None, expected a finite number >= 0"),
    ("schema_version", 2, "schema_version is 2, this version of sabersim reads 1: update"),
    ("schema_version", "1", "schema_version is '1', expected an integer >= 1"),
    ("schema_version", ..., "the profile lacks the key 'schema_version'"),
    ("kv_token", 5, "the profile has the unknown key 'kv_token', expected one of"),
    ("kv_token", 5, "did you mean 'kv_tokens'?"),
    ("model", ["a"], "model is ['a'], expected a JSON object"),
    ("sources.kv_tokens", 1, "sources.kv_tokens is 1, expected a text"),
    ("cost", 1, "cost is 1, expected a JSON object"),
    ("cost.decode.step_s.1", -0.2, "cost.decode.step_s[1] is -0.2, expected a finite number > 0"),
    ("cost.decode.step_s.2", "x", "cost.decode.step_s[2] is 'x', expected a finite number"),
    ("cost.decode.step_s.2", 10**400, "cost.decode.step_s[2] is 1000"),
    ("cost.decode.step_s.2", ..., "cost.decode.step_s has 2 numbers, expected 3: one for each of "),
    ("cost.decode.batch.1", 1, "cost.decode.batch[1] is 1.0, expected more than the one before"),
    ("cost.decode.batch.0", -1, "cost.decode.batch[0] is -1.0, expected a finite number >= 0"),
    ("cost.decode.batch", [], "cost.decode.batch is [], expected at least one number"),
    ("cost.decode.batch", 1, "cost.decode.batch is 1, expected a list of numbers"),
    ("cost.decode.batchs", [1], "cost.decode has the unknown key 'batchs', expected one of batch"),
    ("cost.decode.context_batch", ..., "cost.decode has one of context_batch and context_token_s"),
    ("cost.decode.context_token_s.1", -1, "cost.decode.context_token_s[1] is -1"),
    ("cost.prefill", ..., "cost lacks the key 'prefill'"),
    ("cost.prefill.tokens", ..., "cost.prefill lacks the key 'tokens'"),
    ("cost.prefill.step_s.1", 0.001, "cost.prefill.step_s[1] is 0.001, expected at least the one"),
    ("cost.prefill.attention_token2_s", -1, "cost.prefill.attention_token2_s is -1, expected"),
    ("fit.held", {}, "fit has the unknown key 'held', expected one of held_out, in_sample; "),
    ("fit.in_sample.decoding", {}, "fit.in_sample has the unknown key 'decoding', expected one of"),
    ("fit.held_out.decode.p95", ..., "fit.held_out.decode lacks the key 'p95'"),
    ("fit.held_out.decode.max", -1, "fit.held_out.decode.max is -1, expected a finite number >= 0"),
    ("intervals", [], "intervals is [], expected a JSON object"),
    ("intervals.level_pct", ..., "intervals lacks the key 'level_pct'"),
    ("intervals.level_pct", 90, "intervals.level_pct is 90, expected 95"),
    ("intervals.cost", [], "intervals has the unknown key 'cost', expected one of level_pct, cost"),
    ("measured.batch", [4, 1], "measured.batch[1] is 1, expected an integer >= 4"),
    ("measured.batch", [4], "measured.batch is [4], expected [low, high]"),
    ("measured.batch", 4, "measured.batch is 4, expected [low, high]"),
    ("measured.batches", [1, 4], "measured has the unknown key 'batches', expected one of batch"),
    ("speed_points", [], "speed_points is (), expected points"),
    ("speed_points", {}, "speed_points is {}, expected a list of [load, tokens_per_s] pairs"),
    ("speed_points.1", [2], "speed_points[1] is [2], expected a pair [load, tokens_per_s]"),
    ("speed_points.1", 2, "speed_points[1] is 2, expected a pair [load, tokens_per_s]"),
    ("speed_points.1.0", 0, "speed_points[1][0] is 0, expected a finite number >= 1"),
    ("speed_points.1.1", 0, "speed_points[1][1] is 0, expected a finite number > 0"),
    ("raw", {}, "raw is {}, expected a list of JSON objects"),
    ("raw.0", 7, "raw[0] is 7, expected a JSON object"),
]


BAD_INTERVALS = [
    ("cost.decode.step_s", [[1, 2]], "has 1 pairs, expected 3: one for each number of cost.dec"),
    ("cost.prefill.step_s", [[1, 2]] * 3, "has 3 pairs, expected 2: one for each number of cost.p"),
    ("cost.prefill.attention_token2_s", [[2, 1]], "[0][1] is 1, expected a finite number >= 2"),
    ("cost.prefill.attention_token2_s", [[-1, 1]], "[0][0] is -1, expected a finite number >= 0"),
    ("cost.prefill.attention_token2_s", [[1]], "[0] is [1], expected a pair [low, high]"),
    ("cost.prefill.attention_token2_s", [1], "[0] is 1, expected a pair [low, high]"),
    ("cost.prefill.attention_token2_s", 1, " is 1, expected a list of [low, high] pairs"),
]


@pytest.mark.parametrize(("table", "value", "message"), BAD_INTERVALS)
def test_intervals_that_do_not_fit_their_table_are_refused(table, value, message):
    data = copy.deepcopy(GOOD)
    data["intervals"][table] = value
    expected = re.escape(f"intervals.{table}") + ".*" + re.escape(message)
    with pytest.raises(ProfileError, match=expected):
        Profile.from_dict(data)
    tables = {key: pairs for key, pairs in data["intervals"].items() if key != "level_pct"}
    with pytest.raises(ProfileError, match=expected):
        dataclasses.replace(Profile.from_dict(GOOD), intervals=tables)


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_what_is_wrong_is_said_in_one_line_with_file_place_and_value(
    path, value, message, tmp_path
):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(changed(path, value)), encoding="utf-8")
    with pytest.raises(ProfileError, match=re.escape(message)) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_newer_schema_is_named_before_its_unknown_keys():
    with pytest.raises(ProfileError, match="schema_version is 3"):
        Profile.from_dict({**GOOD, "schema_version": 3, "a_key_of_the_future": 1})


@pytest.mark.parametrize("data", [None, [], 3, "profile"])
def test_a_profile_is_a_json_object(data):
    with pytest.raises(ProfileError, match=r"^here: the profile is .*, expected a JSON object$"):
        Profile.from_dict(data, where="here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a JSON file: .*line 1 column 2"),
        (b"", "not a JSON file"),
        (b'{"kv_tokens": NaN}', "not a JSON file: NaN is not a JSON number"),
        (b"\xff\xfe\x00", "not a JSON file: it is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_json_is_named(content, message, tmp_path):
    file = tmp_path / "bad.json"
    file.write_bytes(content)
    with pytest.raises(ProfileError, match=message) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProfileError, match=r"absent\.json: cannot read the profile: No such file"):
        load_profile(tmp_path / "absent.json")
    with pytest.raises(ProfileError, match=r"absent\.json: cannot read the profile: No such file"):
        load_profile("absent.json")
    with pytest.raises(ProfileError, match="cannot read the profile: Is a directory"):
        load_profile(tmp_path)


def test_a_file_without_the_usual_ending_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "mine").write_text(json.dumps(GOOD), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_profile("mine") == Profile.from_dict(GOOD)
    assert load_profile(Path("mine")) == Profile.from_dict(GOOD)


def test_a_byte_order_mark_does_not_matter(tmp_path):
    (tmp_path / "bom.json").write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert load_profile(tmp_path / "bom.json").name == "mine"


def test_saving_to_an_impossible_place_is_an_error_in_one_line(tmp_path):
    with pytest.raises(ProfileError, match=r"cannot save the profile: .*No such file"):
        Profile.from_dict(GOOD).save(tmp_path / "no" / "where.json")


def test_an_earlier_file_stays_when_saving_fails(tmp_path, monkeypatch):
    Profile.from_dict(GOOD).save(tmp_path / "p.json")
    before = (tmp_path / "p.json").read_bytes()

    def half(path, content, encoding):
        path.write_bytes(content[:9].encode(encoding))
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(ProfileError, match=r"p\.json: cannot save the profile: No space left"):
        Profile.from_dict({**GOOD, "kv_tokens": 7}).save(tmp_path / "p.json")
    assert (tmp_path / "p.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("block", "key"), [("model", "name"), ("model", "dtype"), ("device", "name")]
)
def test_names_are_text(block, key):
    with pytest.raises(ProfileError, match=rf"{block}\.{key} is \[1\], expected a text"):
        Profile.from_dict({**GOOD, block: {**GOOD.get(block, {}), key: [1]}})


def test_a_profile_that_json_cannot_hold_leaves_no_file(tmp_path):
    profile = Profile.from_dict({**GOOD, "raw": [{"median_s": float("nan")}]})
    with pytest.raises(ProfileError, match="cannot save the profile"):
        profile.save(tmp_path / "p.json")
    assert not (tmp_path / "p.json").exists()


finite = st.floats(1e-9, 1e3)
xs = st.lists(st.floats(1, 1e5), min_size=1, max_size=5, unique=True).map(sorted)


@st.composite
def tables(draw, values=finite, rising=False):
    x = draw(xs)
    y = draw(st.lists(values, min_size=len(x), max_size=len(x)))
    return PiecewiseLinear(tuple(x), tuple(sorted(y) if rising else y))


@st.composite
def rising_costs(draw):
    return StepCost(
        dataclasses.replace(draw(tables()), x=(0.0,), y=(draw(finite),)),
        draw(tables(st.floats(0, 1))),
        draw(tables(st.floats(0, 10), rising=True)),
        draw(st.floats(0, 1)),
        *draw(st.just((None, 0.0)) | st.tuples(st.floats(0, 1), st.floats(0, 1))),
    )


# Names that a profile has rules for are not free.
free = st.dictionaries(
    st.text().filter(lambda key: key not in ("name", "dtype")),
    st.none() | st.booleans() | st.integers() | finite | st.lists(st.text()),
)
texts = st.text(min_size=1).filter(str.strip)
ranges = st.none() | st.lists(st.integers(0, 10**6), min_size=2, max_size=2).map(sorted).map(tuple)
errors = st.builds(FitError, finite, finite, finite)
profiles = st.builds(
    Profile,
    name=texts,
    method=st.sampled_from(METHODS),
    cost=rising_costs(),
    kv_tokens=st.integers(1, 10**9),
    kv_source=texts,
    discipline=st.sampled_from(DISCIPLINES),
    client_overhead_s=st.floats(0, 10),
    speed_points=st.none() | st.lists(st.tuples(st.floats(1, 1e4), finite), min_size=1).map(tuple),
    measured_batch=ranges,
    measured_prefill_tokens=ranges,
    measured_context_tokens=ranges,
    date=st.dates().map(str) | st.just(""),
    model=free,
    device=free,
    software=free,
    provenance=free,
    sources=st.dictionaries(st.text(), texts),
    fit=st.dictionaries(
        st.sampled_from(["held_out", "in_sample"]),
        st.dictionaries(st.sampled_from(KINDS), errors),
    ),
    raw=st.lists(free, max_size=3).map(tuple),
)


pairs = st.lists(st.floats(0, 10), min_size=2, max_size=2).map(sorted).map(tuple)


@st.composite
def intervals_of(draw, cost):
    tables = draw(st.sets(st.sampled_from(list(coefficients(cost)))))
    return {
        table: draw(st.tuples(*[pairs] * len(numbers)))
        for table, numbers in coefficients(cost).items()
        if table in tables
    }


# Whole profiles take long to draw where other work shares the machine; that is not what is tested.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(profiles, st.data())
def test_a_profile_survives_json_exactly(profile, data):
    profile = dataclasses.replace(profile, intervals=data.draw(intervals_of(profile.cost)))
    again = Profile.from_dict(json.loads(json_text(profile.to_dict())))
    assert again == profile
    assert hash(again) == hash(profile)
    assert again.cost.decode_coefficients(37) == profile.cost.decode_coefficients(37)


def test_a_saved_profile_loads_equal_and_pickles(tmp_path):
    profile = Profile.from_dict(GOOD)
    profile.save(tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == profile
    assert pickle.loads(pickle.dumps(profile)) == profile


def test_the_overhead_of_a_request_is_in_the_file_and_in_decode_steps():
    profile = Profile.from_dict(
        {**GOOD, "engine_overhead_s": 0.001, "engine_overhead_request_s": 2e-5}
    )
    assert profile.engine_overhead_request_s == 2e-5
    assert profile.to_dict()["engine_overhead_request_s"] == 2e-5
    assert profile.cost.decode_s(4, 0) == pytest.approx(0.013 + 0.001 + 4 * 2e-5)


def test_the_context_hint_is_no_part_of_the_file():
    hinted = dataclasses.replace(Profile.from_dict(GOOD), mean_context_tokens=900.0)
    assert hinted.mean_context_tokens == 900.0
    assert Profile.from_dict(hinted.to_dict()).mean_context_tokens is None
    with pytest.raises(ProfileError, match="mean_context_tokens is -1"):
        dataclasses.replace(hinted, mean_context_tokens=-1)


def caveats(**changes):
    return Profile.from_dict({**GOOD, **changes}).caveats


def test_caveats_name_what_is_not_known():
    assert caveats(engine_overhead_s=0.001) == ()
    (kernel_only,) = caveats()
    assert kernel_only.startswith("kernel-only")
    (assumed,) = caveats(engine_overhead_s=0, kv_source="assumed: a guess")
    assert "4096" in assumed
    assert "assumed" in assumed
    (roofline,) = caveats(engine_overhead_s=0, method="roofline")
    assert roofline.startswith("roofline")
    (simulated,) = caveats(engine_overhead_s=0, method="simulated")
    assert simulated.startswith("simulated")


def test_a_held_out_error_over_five_percent_is_a_caveat():
    def of(mape):
        return {"mape": mape, "p95": 50, "max": 90}

    assert caveats(engine_overhead_s=0, fit={"held_out": {"decode": of(5)}}) == ()
    assert caveats(engine_overhead_s=0, fit={"in_sample": {"decode": of(50)}}) == ()
    errors = {"decode": of(7.26), "prefill": of(4.9), "mixed": of(12)}
    (uncertain,) = caveats(engine_overhead_s=0, fit={"held_out": errors})
    assert "held-out error of the fit is 7.3 % in decode, 12.0 % in mixed" in uncertain


def test_every_bundled_profile_loads_under_its_name_in_its_own_layout():
    assert PAPER in bundled_profiles()
    for name in bundled_profiles():
        profile = load_profile(name)
        assert profile.name == name
        source = resources.files("calibrate.profiles").joinpath(f"{name}.json")
        assert source.read_text("utf-8") == json_text(profile.to_dict()) + "\n"


def test_every_number_of_the_paper_profile_names_its_source():
    profile = load_profile(PAPER)
    # "date" and the version describe the file; x values are where the lines are drawn from.
    own = {"schema_version", "name", "method", "date", "provenance", "sources", "kv_source"}
    own |= {"cost.decode.batch", "cost.decode.context_batch", "cost.prefill.tokens"}

    def places(value, path=""):
        if isinstance(value, dict) and path not in profile.sources and path not in own:
            for key, item in value.items():
                yield from places(item, f"{path}.{key}" if path else key)
        elif value not in ({}, []):
            yield path

    unsourced = set(places(profile.to_dict())) - set(profile.sources) - own
    assert unsourced == set()


def test_the_paper_profile_is_the_published_engine():
    profile = load_profile(PAPER)
    assert profile.method == "published-fit"
    assert profile.discipline == "prefill-first"
    assert profile.engine_overhead_s == 0.0
    assert profile.measured_batch == (1, 100)
    assert len(profile.speed_points) == 255
    model = profile.model
    kv_bytes = 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * 2
    assert model["kv_bytes_per_token"] == kv_bytes == 36864
    assert profile.kv_tokens == (24e9 * 0.8 - model["weight_bytes"]) // kv_bytes
    assert len(profile.caveats) == 1
    assert "KV capacity" in profile.caveats[0]


def test_the_weights_of_the_paper_model_follow_from_its_shapes():
    model = load_profile(PAPER).model
    hidden, inner, kv = model["hidden"], model["intermediate"], model["kv_heads"] * 128
    attention = (hidden + 1) * (hidden + 2 * kv) + hidden * hidden  # q, k, v have biases
    layer = attention + 3 * hidden * inner + 2 * hidden
    parameters = model["layers"] * layer + model["vocab"] * hidden + hidden
    assert model["parameters"] == parameters
    assert model["weight_bytes"] == 2 * parameters


def test_loading_a_profile_imports_no_scipy():
    code = (
        "import sys; from calibrate import load_profile; import calibrate.speed;"
        f"load_profile('{PAPER}'); heavy = {{'scipy', 'pandas', 'matplotlib', 'torch'}};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    root = os.fspath(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
