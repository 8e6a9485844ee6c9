"""From text to policy: names, parameters, modules, and what is refused."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from policies.catalog import POLICIES, make_policy, split_policies
from policies.function import FunctionPolicy
from policies.guarded import Guarded
from policies.protocol import PolicyError
from policies.saber import Saber
from policies.static import Static

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("saber", Saber()),
        (" saber ", Saber()),
        ("saber()", Saber()),
        ("saber(linear)", Saber(estimator="linear")),
        ("saber('linear')", Saber(estimator="linear")),
        ("saber(linear, artifact)", Saber(estimator="linear", variant="artifact")),
        ("saber(linear, lpq=all)", Saber(estimator="linear", lpq="all")),
        ("saber(interval=0.05,window=5)", Saber(interval=0.05, window=5)),
        ("saber(interval=1e-3)", Saber(interval=0.001)),
        ("saber(speed_limit=None)", Saber()),
        ("static(24)", Static(24)),
        ("static(max_num_seqs=24)", Static(24)),
        ("static( max_num_seqs = 24 )", Static(24)),
    ],
)
def test_what_a_text_means(text, policy):
    assert make_policy(text) == policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sabre", "unknown policy 'sabre', did you mean 'saber'?"),
        ("SABER", "unknown policy 'SABER', did you mean 'saber'?"),
        ("statik(3)", "did you mean 'static'?"),
        ("fifo", "unknown policy 'fifo': expected one of static, fcfs, edf, "),
        ("saber(estimater=usl)", "saber: unknown parameter 'estimater', did you mean 'estimator'?"),
        (
            "static(max_num_seqs=3, colour=red)",
            "static: unknown parameter 'colour': expected one of max_num_seqs",
        ),
        ("saber(**options)", "saber: unknown parameter None"),
        ("static", "policy 'static': max_num_seqs is missing: expected static(max_num_seqs=...)"),
        ("static()", "policy 'static()': max_num_seqs is missing"),
        ("static(3, max_num_seqs=4)", "static: parameter 'max_num_seqs' is given twice"),
        ("static(3, 4)", "policy 'static(3, 4)': 2 values for 1 parameters (max_num_seqs)"),
        ("static(many)", "static: max_num_seqs='many': expected a whole number"),
        ("static(2.5)", "static: max_num_seqs=2.5: expected a whole number"),
        ("static(True)", "static: max_num_seqs=True: expected a whole number"),
        ("static(0)", "static: max_num_seqs=0: expected at least 1"),
        ("static(-3)", "static: max_num_seqs=-3: expected at least 1"),
        ("static(2 * 3)", "static: max_num_seqs=2 * 3: expected a number, a word or None"),
        ("static(len('abc'))", "static: max_num_seqs=len('abc'): expected a number"),
        ("static({[]})", "static: max_num_seqs={[]}: expected a number, a word or None"),
        ("saber(linear", "policy 'saber(linear': expected a name such as saber, or name("),
        ("", "policy '': expected a name"),
        ("a.b", "policy 'a.b': expected a name"),
        ("saber()()", "policy 'saber()()': expected a name"),
        ("saber; import os", "policy 'saber; import os': expected a name"),
        ("sab\0er", "expected a name"),
    ],
)
def test_what_a_text_can_not_mean(text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_name_of_the_catalogue_is_a_label():
    assert {"static", "saber"} <= set(POLICIES)
    for name in POLICIES:
        text = f"{name}(8)" if name == "static" else name
        assert make_policy(make_policy(text).label) == make_policy(text)
        assert make_policy(text).label.startswith(name)


def test_policies_are_split_at_commas_outside_parentheses():
    text = "static(24), saber(linear, lpq=all),saber ,my.module:policy"
    expected = ["static(24)", "saber(linear, lpq=all)", "saber", "my.module:policy"]
    assert split_policies(text) == expected
    assert split_policies("saber") == ["saber"]


@pytest.mark.parametrize("text", ["", "saber,", ",saber", "saber,,static(3)"])
def test_a_missing_policy_in_a_list_is_an_error(text):
    with pytest.raises(PolicyError, match="expected names separated by single commas"):
        split_policies(text)


MODULE = '''
calls = []

def first(view):
    return view.queue[:1]

class Mine:
    """A policy."""
    label = "mine"
    def start(self, rng, profile):
        calls.append("start")
    def __call__(self, view):
        calls.append("call")

class Nameless:
    def start(self, rng, profile):
        calls.append("start")

mine = Mine()
nameless = Nameless()
lazy = lambda view: None
constant = 3
text = "saber"

def nothing():
    calls.append("nothing")

def two(view, other):
    calls.append("two")

def named(*, view):
    calls.append("named")

def optional(view, limit=3):
    return ()
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make modules that can be imported from the working folder, and forget them afterwards."""
    (tmp_path / "own_module.py").write_text(MODULE)
    (tmp_path / "own_broken.py").write_text("raise KeyError('oh')")
    (tmp_path / "own_syntax.py").write_text("def f(:\n")
    (tmp_path / "own_needs.py").write_text("import a_library_nobody_has")
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "inside.py").write_text("def f(view): return None")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_module"
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def test_a_policy_of_a_module_is_used_as_it_is(module):
    policy = make_policy("own_module:mine")
    assert isinstance(policy, Guarded)
    assert policy.policy is sys.modules[module].mine
    assert policy.label == "mine"


@pytest.mark.parametrize("text", ["own_module:first", "own_module:lazy", "own_module:optional"])
def test_a_function_of_a_module_is_wrapped(module, text):
    policy = make_policy(text)
    assert isinstance(policy, Guarded)
    assert isinstance(policy.policy, FunctionPolicy)
    assert policy.policy.function is getattr(sys.modules[module], text.split(":")[1])
    assert policy.label == text


def test_a_module_may_be_inside_a_package(module):
    assert make_policy("own_package.inside:f").label == "own_package.inside:f"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("own_module:Mine", "policy own_module:Mine: is a class: name an instance of it"),
        ("own_module:nameless", "policy own_module:nameless: has no text attribute 'label'"),
        ("own_module:constant", "3 is neither a policy (start(rng, profile)) nor a function"),
        ("own_module:text", "'saber' is neither a policy"),
        ("own_module:nothing", "nor a function of one argument, the view"),
        ("own_module:two", "nor a function of one argument, the view"),
        ("own_module:named", "nor a function of one argument, the view"),
        (
            "own_module:frist",
            "policy 'own_module:frist': module own_module has no 'frist', did you mean 'first'?",
        ),
        ("own_modul:first", "policy 'own_modul:first': no module named 'own_modul'"),
        ("own_package.outside:f", "no module named 'own_package.outside'"),
        ("own_module.first:f", "no module named 'own_module.first'"),
        ("own_needs:f", "no module named 'a_library_nobody_has'"),
        ("own_broken:f", "importing own_broken failed: KeyError: 'oh'"),
        ("own_syntax:f", "importing own_syntax failed: SyntaxError"),
        ("own_module:", "policy 'own_module:': expected module:object"),
        (":first", "expected module:object"),
        ("own_module:first()", "expected module:object"),
        ("own_module:mine.label", "expected module:object"),
        ("own module:first", "expected module:object"),
        ("../own_module:first", "expected module:object"),
    ],
)
def test_an_object_that_is_no_policy_is_refused(module, text, message):
    with pytest.raises(PolicyError) as error:
        make_policy(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_of_a_module_is_called(module):
    for name in ("first", "mine", "Mine", "nameless", "nothing", "two", "named", "constant"):
        try:
            make_policy(f"own_module:{name}")
        except PolicyError:
            continue
    assert sys.modules[module].calls == []


def test_objects_are_taken_as_they_are():
    policy = Static(3)
    assert make_policy(policy) is policy

    def shortest(view):
        return None

    assert make_policy(shortest).label == "shortest"
    for wrong in (Saber, Static, 3, None, [Static(3)], {"policy": "saber"}):
        with pytest.raises(PolicyError, match="policy"):
            make_policy(wrong)
