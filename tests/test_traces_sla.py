"""SLAs: numbers, by task, expressions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.request import Trace, TraceError


class Profile:
    """Unloaded latency of a made-up engine."""

    def unloaded_s(self, prompt_tokens: np.ndarray, output_tokens: np.ndarray) -> np.ndarray:
        return prompt_tokens / 1000 + output_tokens / 100


def trace(**columns: object) -> Trace:
    values = {"task": ["chat", "edit", "chat"], "max_tokens": [20, 20, 40], **columns}
    return Trace([0, 1, 2], [100, 200, 300], [10, 20, 30], **values)


@pytest.mark.parametrize(
    ("sla", "expected"),
    [
        (12, [12, 12, 12]),
        (0.5, [0.5] * 3),
        (np.float64(2), [2] * 3),
        ("12", [12] * 3),
        ("1e-3", [0.001] * 3),
        (" unloaded*3 ", [0.6, 1.2, 1.8]),
        ("unloaded * 3 + 1", [1.6, 2.2, 2.8]),
        ("0.5+0.05*output", [1.0, 1.5, 2.0]),
        ("-(1 - prompt) / 9", [11, 199 / 9, 299 / 9]),
        ("2 - 1 - 0.5", [0.5] * 3),
        ("max_tokens/10", [2, 2, 4]),
        ("max(1, output/10, 2)", [2, 2, 3]),
        ("min(prompt, 150)", [100, 150, 150]),
        ({"chat": 5, "edit": "output/10"}, [5, 2, 5]),
        ({"edit": 1, "chat": "unloaded"}, [0.2, 1, 0.6]),
    ],
)
def test_with_sla(sla: object, expected: list[float]) -> None:
    t = trace()
    given_ = t.with_sla(sla, profile=Profile())
    np.testing.assert_allclose(given_.sla_s, expected, rtol=1e-12)
    assert given_.replace(sla_s=t.sla_s) == t
    assert np.isnan(t.sla_s).all()


@pytest.mark.parametrize(
    ("sla", "message"),
    [
        (0, "SLA 0 gives 0 s for row 0; expected finite and above 0"),
        (float("inf"), "gives inf s for row 0"),
        (True, "SLA True is neither seconds nor an expression"),
        (None, "SLA None is neither seconds nor an expression"),
        ("15-output", "SLA '15-output' gives -5 s for row 1"),
        ("1/(output-20)", "gives -0.1 s for row 0"),
        ("1/(20-output)", "gives inf s for row 1"),
        ("1e999", "gives inf s"),
        ("9" * 190, "^(?!.*Overflow)"),
        ("", "SLA '' cannot be read; expected an expression such as"),
        ("3*", r"SLA '3\*' cannot be read"),
        ("unlaoded*3", "unknown name 'unlaoded'; .* did you mean 'unloaded'"),
        ("output**2", r"uses 'output\*\*2'; expected unloaded, prompt"),
        ("__import__('os').getcwd()", "uses .*expected unloaded, prompt"),
        ("max(1)", r"uses 'max\(1\)'"),
        ("min(1, 2, key=3)", "uses "),
        ("'a'", "uses "),
        ("True", "uses 'True'"),
        ("1 if output else 2", "uses "),
        ("(" * 300, "is longer than 200 characters"),
        ("(" * 100 + "1" + ")" * 99, "cannot be read"),
        ({"chat": 5}, "no SLA given for task 'edit'"),
        ({"chat": 5, "edit": 1, "edt": 2}, "unknown task 'edt'; expected chat | edit.*'edit'"),
        ({"chat": 5, "edit": -1}, "SLA -1 gives -1 s for row 1"),
    ],
)
def test_what_is_no_sla_is_refused(sla: object, message: str) -> None:
    if message.startswith("^(?!"):
        assert (trace().with_sla(sla).sla_s > 1e180).all()
        return
    with pytest.raises(TraceError, match=message) as caught:
        trace().with_sla(sla, profile=Profile())
    assert "\n" not in str(caught.value)


def test_unloaded_needs_a_profile() -> None:
    with pytest.raises(TraceError, match="uses 'unloaded', which needs a profile"):
        trace().with_sla("unloaded*3")


def test_slas_by_task_need_tasks() -> None:
    with pytest.raises(TraceError, match="1 of 3 requests have no task"):
        trace(task=["a", None, "a"]).with_sla({"a": 1})


def test_a_task_the_part_lacks_needs_no_sla() -> None:
    assert trace()[1:2].with_sla({"edit": 2}).sla_s.tolist() == [2]


expressions = st.recursive(
    st.sampled_from(["prompt", "output", "max_tokens", "2", "0.25"]),
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from("+-*/"), e).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), e, e).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        e.map(lambda p: f"-{p}"),
    ),
    max_leaves=8,
)


@given(expressions)
def test_expressions_mean_what_python_means(text: str) -> None:
    t = trace()
    try:
        expected = [
            eval(text, {}, {"prompt": float(r.prompt_tokens), "output": float(r.output_tokens),
                            "max_tokens": float(r.max_tokens), "min": min, "max": max})
            for r in t
        ]  # fmt: skip
        valid = min(expected) > 0
    except ZeroDivisionError:
        valid = False
    if not valid:
        # Dividing by zero may still end in a valid number, such as 1 / (1 / 0) would not.
        return
    np.testing.assert_allclose(t.with_sla(text).sla_s, expected)
