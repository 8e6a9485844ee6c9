"""Every format read by detection; our own written; every kind of bad file named."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import given
from trace_strategies import any_trace

from traces import containers
from traces.formats import load, save
from traces.layouts import FORMATS
from traces.request import Request, Trace, TraceError

FIXTURES = Path(__file__).parent / "fixtures" / "traces"
DATA = Path(__file__).parents[2] / "shared" / "data" / "traces"

# File, format, arrivals, prompt tokens, output tokens.
READ = [
    ("own.csv", "sabersim", [0.5, 1.25, 3.0], [120, 90, 310], [30, 12, 44]),
    ("own_minimal.csv", "sabersim", [10, 12.5], [5, 7], [1, 3]),
    ("azure2023.csv", "azure", [0, 4.314579, 4.541877], [374, 396, 879], [44, 109, 55]),
    ("azure2024.csv", "azure", [0, 0.998837, 1.248837], [1452, 2376, 815], [47, 25, 9]),
    ("azure2025_lmm.csv", "azure-lmm", [0, 2.5, 4], [1284, 140, 4022], [87, 31, 12]),
    ("burstgpt.csv", "burstgpt", [0, 45, 114], [466, 1080, 398], [20, 241, 280]),
    ("burstgpt_sessions.csv", "burstgpt", [0, 0.5, 29.75], [300, 812, 455], [120, 40, 99]),
    ("mooncake.jsonl", "mooncake", [0, 0, 1.5], [1200, 700, 512], [52, 7, 400]),
    ("bailian.jsonl", "bailian", [0, 0.75, 8.5, 19.75], [33, 20, 140, 16], [90, 5, 60, 61]),
    ("vidur.csv", "vidur", [0, 0.84, 2.1], [381, 1920, 55], [76, 204, 1]),
    ("splitwise.csv", "splitwise", [0, 0.3833, 0.9], [155, 1420, 86], [30, 12, 203]),
    ("llmservingsim.jsonl", "llmservingsim", [0, 0.25], [128, 77], [64, 20]),
    ("llmservingsim.csv", "llmservingsim", [0, 0.25], [128, 77], [64, 20]),
    ("vllm_bench.json", "vllm-bench", [0, 0.5], [100, 200], [40, 50]),
]


@pytest.mark.parametrize(("name", "format_", "arrival", "prompt", "output"), READ)
def test_a_format_is_known_by_its_content(
    name: str, format_: str, arrival: list, prompt: list, output: list, tmp_path: Path
) -> None:
    path = tmp_path / "no_hint_in_the_name"
    shutil.copy(FIXTURES / name, path)
    t = load(path)
    assert t.meta["format"] == format_
    assert t.meta["source"] == str(path)
    np.testing.assert_allclose(t.arrival_s, arrival, rtol=0, atol=1e-9)
    assert t.prompt_tokens.tolist() == prompt
    assert t.output_tokens.tolist() == output
    assert load(path, format=format_) == t


@pytest.mark.parametrize("name", ["own.csv", "mooncake.jsonl", "vllm_bench.json", "azure2023.csv"])
def test_compressed_files_are_known_by_their_magic_bytes(name: str, tmp_path: Path) -> None:
    content = (FIXTURES / name).read_bytes()
    compress = zstandard.ZstdCompressor().compress
    half = len(content) // 2
    for number, packed in enumerate(
        [
            gzip.compress(content),
            compress(content),
            compress(content[:half]) + compress(content[half:]),
        ]
    ):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(packed)
        assert load(path) == load(FIXTURES / name)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_parquet_may_be_compressed_as_a_whole(compress, tmp_path: Path) -> None:
    t = load(FIXTURES / "own.csv")
    save(t, tmp_path / "t.parquet")
    path = tmp_path / "t.parquet.packed"
    path.write_bytes(compress((tmp_path / "t.parquet").read_bytes()))
    assert load(path) == t


def test_blank_lines_before_the_header_count_as_lines(tmp_path: Path) -> None:
    content = (FIXTURES / "own.csv").read_bytes()
    path = tmp_path / "t"
    for before in (b"\n", b"\xef\xbb\xbf\r\n \n"):
        path.write_bytes(before + content)
        assert load(path) == load(FIXTURES / "own.csv")
    path.write_text("\n \narrival_s,prompt_tokens,output_tokens\n0,5,5\n1,x,5\n")
    with pytest.raises(TraceError, match="line 5: prompt_tokens is 'x'"):
        load(path)
    path.write_text("\n\narrival_s,prompt_tokens,output_tokens,prompt_tokens\n0,5,5,5\n")
    with pytest.raises(TraceError, match="line 3: column 'prompt_tokens' is there twice"):
        load(path)


def test_a_byte_order_mark_crlf_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    for name in ("own.csv", "mooncake.jsonl"):
        text = (FIXTURES / name).read_text()
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n\r\n").encode())
        assert load(path) == load(FIXTURES / name)


def test_a_list_of_records_is_a_table_too(tmp_path: Path) -> None:
    lines = (FIXTURES / "bailian.jsonl").read_text().splitlines()
    path = tmp_path / "list"
    path.write_text(json.dumps([json.loads(line) for line in lines], indent=1))
    assert load(path) == load(FIXTURES / "bailian.jsonl")


def test_our_own_format_has_all_columns() -> None:
    assert list(load(FIXTURES / "own.csv")) == [
        Request(0.5, 120, 30, 64, "chat", 2.5, "s1", None, "acme"),
        Request(1.25, 90, 12, 12, "edit, inline", None, None, None, None),
        Request(3.0, 310, 44, 128, "chat", 4.0, "s1", 0, "acme"),
    ]


def test_burstgpt_failures_are_dropped_and_counted() -> None:
    t = load(FIXTURES / "burstgpt.csv")
    assert t.warnings == ("dropped requests without a response: 1",)
    assert [r.task for r in t] == ["Conversation log", "API log", "Conversation log"]
    assert [r.session for r in load(FIXTURES / "burstgpt_sessions.csv")] == ["17", None, "17"]


def test_block_ids_are_kept() -> None:
    t = load(FIXTURES / "mooncake.jsonl")
    assert t.hash_ids.block_tokens == 512
    assert [t.hash_ids.row(i).tolist() for i in range(3)] == [[0, 1, 2], [0, 3], [4]]
    assert load(FIXTURES / "bailian.jsonl").hash_ids.block_tokens == 16


def test_bailian_turns_form_sessions() -> None:
    t = load(FIXTURES / "bailian.jsonl")
    assert [r.session for r in t] == ["41", "7", "41", "41"]
    assert t.parent.tolist() == [-1, -1, 0, 2]
    assert [r.task for r in t] == ["text", "search", "text", "text"]
    assert t.warnings == ("requests whose parent is not among those before them: 1",)


def test_images_are_warned_of() -> None:
    (warning,) = load(FIXTURES / "azure2025_lmm.csv").warnings
    assert warning.startswith("requests with images: 2;")


def test_splitwise_applications_are_tenants() -> None:
    assert [r.tenant for r in load(FIXTURES / "splitwise.csv")] == ["0", "1", "0"]


def test_lengths_without_arrivals_need_a_rate() -> None:
    for name in ("sharegpt.json", "lengths.jsonl", "vllm_bench_no_times.json"):
        with pytest.raises(TraceError, match=r"has no arrival times .*; give rps to make them"):
            load(FIXTURES / name)
        a, b = (load(FIXTURES / name, rps=2, seed=seed) for seed in (0, 1))
        assert a == load(FIXTURES / name, rps=2)
        assert a.arrival_s.tolist() != b.arrival_s.tolist()
        assert a.prompt_tokens.tolist() == b.prompt_tokens.tolist()
        np.testing.assert_allclose(load(FIXTURES / name, rps=4).arrival_s * 2, a.arrival_s)
    uniform = load(FIXTURES / "lengths.jsonl", rps=2, arrivals="uniform")
    assert uniform.arrival_s[-1] < 1
    assert uniform.meta["arrivals"] == "uniform at 2 rps, seed 0"
    assert load(FIXTURES / "lengths.jsonl", rps=2).prompt_tokens.tolist() == [412, 95]
    assert load(FIXTURES / "lengths.jsonl", rps=2).warnings == ()
    assert load(FIXTURES / "vllm_bench_no_times.json", rps=2).output_tokens.tolist() == [40, 50]


def test_text_lengths_are_estimated_and_said_to_be() -> None:
    t = load(FIXTURES / "sharegpt.json", rps=1, chars_per_token=2)
    # "Write a loop over ten numbers in Go." has 36 characters, "Be brief." and the question 25.
    assert t.prompt_tokens.tolist() == [18, 12]
    assert t.output_tokens.tolist() == [21, 20]
    assert t.warnings == (
        "dropped requests without a response: 1",
        "lengths are estimated at 2 characters per token",
    )


def test_the_first_answer_to_a_question_counts(tmp_path: Path) -> None:
    talk = [("gpt", "Hi"), ("human", "Why?"), ("gpt", "!"), ("human", "So?"), ("gpt", "Because.")]
    records = [
        {"conversations": [{"from": role, "value": text} for role, text in talk]},
        {"conversations": [{"from": "human", "value": "x"}, "and so on"]},
    ]
    path = tmp_path / "t"
    path.write_text(json.dumps(records))
    with pytest.raises(TraceError, match="item 1: prompt is missing"):
        load(path, rps=1)
    t = load(path, rps=1, skip_bad=True)
    assert t.prompt_tokens.tolist() == [2]  # "HiWhy?" has six characters
    assert t.output_tokens.tolist() == [1]
    path.write_text('{"prompt": "12345678", "completion": "1234"}\n')
    assert load(path, rps=1).prompt_tokens.tolist() == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rps": 3}, "has arrival times of its own .*rps=3 has no effect"),
        ({"arrivals": "uniform"}, "arrivals=uniform has no effect"),
        ({"chars_per_token": 3}, "chars_per_token has no effect"),
        ({"chars_per_token": 0}, "chars_per_token is 0; expected"),
        ({"format": "azur"}, "unknown trace format 'azur'; .* did you mean 'azure'"),
        ({"format": "vidur"}, "is not in the vidur format: arrived_at, .* is missing"),
        ({"format": "sharegpt"}, "is not in the sharegpt format: its fields are"),
        ({"format": "vllm-bench"}, "is not in the vllm-bench format"),
    ],
)
def test_options_without_effect_are_refused(options: dict, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        load(FIXTURES / "azure2023.csv", **options)


# Our format unless the header says otherwise.
HEADER = "arrival_s,prompt_tokens,output_tokens"
BAD_ROWS = [
    (f"{HEADER}\n0,5,1\n1,,2\n", "line 3: prompt_tokens is missing; expected a whole number"),
    (f"{HEADER}\n0,5,1\n1,abc,2\n", "line 3: prompt_tokens is 'abc'; expected a whole number"),
    (f"{HEADER}\n0,5,1\n1,6,0\n", "line 3: output_tokens is '0'; expected a whole number"),
    (f"{HEADER}\n0,5,1\n1,0,2\n", "line 3: prompt_tokens is '0'"),
    (f"{HEADER}\n0,5,1\n1,-6,2\n", "line 3: prompt_tokens is '-6'"),
    (f"{HEADER}\n0,5,1\n1,6.5,2\n", "line 3: prompt_tokens is '6.5'"),
    (f"{HEADER}\n0,5,1\n1,1_0,2\n", "line 3: prompt_tokens is '1_0'"),
    (f"{HEADER}\n0,5,1\n1,1e99,2\n", "line 3: prompt_tokens is '1e99'"),
    (f"{HEADER}\n0,5,1\n-1,6,2\n", "line 3: arrival_s is '-1'; expected a finite time >= 0"),
    (f"{HEADER}\n0,5,1\nnan,6,2\n", "line 3: arrival_s is 'nan'; expected a finite time >= 0"),
    (f"{HEADER}\n0,5,1\ninf,6,2\n", "line 3: arrival_s is 'inf'"),
    (f"{HEADER}\n0,5,1\n1,6\n", "line 3: has 2 fields: '1,6'; expected 3"),
    (f"{HEADER}\n0,5,1\n\n1,6,7,8\n", "line 4: has 4 fields: '1,6,7,8'; expected 3"),
    (f"{HEADER},sla_s\n0,5,1,\n1,6,2,0\n", "line 3: sla_s is '0'; expected a finite number"),
    (f"{HEADER},sla_s\n0,5,1,\n1,6,2,nan\n", "line 3: sla_s is 'nan'; expected a finite number"),
    (f"{HEADER},max_tokens\n0,5,1,\n1,6,2,1\n", "line 3: max_tokens is '1'; expected at least"),
    (f"{HEADER},parent\n0,5,1,\n1,6,2,x\n", "line 3: parent is 'x'; expected a whole number, or"),
    (f"{HEADER},hash_ids,block_tokens\n0,5,1,1,16\n1,6,2,a b,16\n", "line 3: hash_ids is 'a b'"),
    (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,5,1\nyesterday,6,2\n",
        "line 3: TIMESTAMP is 'yesterday'; expected a date and time such as",
    ),
    (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,5,1\n,6,2\n",
        "line 3: TIMESTAMP is missing",
    ),
    (
        "TIMESTAMP,ContextTokens,GeneratedTokens,NumImages\n"
        "2023-11-16 18:15:46.68,5,1,0\n2023-11-16 18:15:46.68,5,1,-1\n",
        "line 3: NumImages is '-1'",
    ),
    (
        "arrival_timestamp,prompt_size,token_size,batch_size\n0,5,1,1\n1,6,2,4\n",
        "line 3: batch_size is '4'; expected 1",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n'
        '{"timestamp": 1, "input_length": 6}\n',
        "line 2: output_length is missing",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n\n'
        '{"timestamp": 1, "input_length": true, "output_length": 2}\n',
        "line 3: input_length is True",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n'
        f'{{"timestamp": 1, "input_length": 1{"0" * 400}, "output_length": 2}}\n',
        "line 2: input_length is 1000",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n{"timestamp": 1, "inp\n',
        "line 2: is not valid JSON: .*; expected a JSON object",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n[1, 2]\n',
        r"line 2: is \[1, 2\]; expected a JSON object",
    ),
    (
        '[{"timestamp": 0, "input_length": 5, "output_length": 1}, {"timestamp": "x"}]',
        "item 1: timestamp is 'x'",
    ),
    (
        '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]}\n'
        '{"timestamp": 1, "input_length": 6, "output_length": 1, "hash_ids": [-1]}\n',
        r"line 2: hash_ids is \[-1\]; expected a list of whole numbers",
    ),
    (
        '{"input_lens": [5, 6], "output_lens": [1, -2], "start_times": [0, 1]}',
        "request 1: output_lens is -2",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_ROWS)
def test_a_bad_row_is_named_or_skipped(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(content)
    with pytest.raises(TraceError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    t = load(path, skip_bad=True)
    assert t.prompt_tokens.tolist() == [5]
    assert t.output_tokens.tolist() == [1]
    (warning,) = t.warnings
    assert warning.startswith("dropped bad rows: 1, the first ")


def test_the_first_bad_row_is_the_one_named(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"{HEADER}\n0,5,1\n1,6,0\n2\n3,x,1\n")
    with pytest.raises(TraceError, match="line 3: output_tokens is '0'"):
        load(path)
    path.write_text(f"{HEADER}\n0,5,1\n2\n1,6,0\n3,x,1\n")
    with pytest.raises(TraceError, match="line 3: has 1 fields"):
        load(path)
    assert load(path, skip_bad=True).warnings[0].startswith("dropped bad rows: 3, the first line 3")


def test_line_numbers_hold_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_CSV_BATCH_BYTES", 64)
    monkeypatch.setattr(containers, "_BATCH_ROWS", 3)
    rows = [f"{i},{i + 1},1" for i in range(100)]
    path = tmp_path / "t"
    path.write_text("\n".join([HEADER, *rows]))
    whole = load(path)
    assert whole.prompt_tokens.tolist() == list(range(1, 101))
    rows[40] = "40"
    rows[41] = ""
    rows[70] = "70,x,1"
    path.write_text("\n".join([HEADER, *rows]))
    with pytest.raises(TraceError, match="line 42: has 1 fields"):
        load(path)
    assert load(path, skip_bad=True) == whole[np.setdiff1d(np.arange(100), [40, 41, 70])]
    rows[40] = rows[41] = ""
    path.write_text("\n".join([HEADER, *rows]))
    with pytest.raises(TraceError, match="line 72: prompt_tokens is 'x'"):
        load(path)
    lines = [json.dumps({"timestamp": i, "input_length": 1, "output_length": 1}) for i in range(9)]
    lines[7] = "{"
    path.write_text("\n".join(lines))
    with pytest.raises(TraceError, match="line 8: is not valid JSON"):
        load(path)


def test_the_first_bad_row_is_named_even_where_parsing_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_CSV_BATCH_BYTES", 32)
    path = tmp_path / "t"
    for bad in range(40, 60):
        rows = [f"{i},{i + 1},1" for i in range(100)]
        rows[bad], rows[bad + 2] = f"{bad},x,1", "broken"
        path.write_text("\n".join([HEADER, *rows]))
        with pytest.raises(TraceError, match=f"line {bad + 2}: prompt_tokens is 'x'"):
            load(path)


EPOCH_NS, EPOCH_MS = 17 * 10**17 + 1, 17 * 10**11 + 1


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("late_by", [0, 7])
def test_times_since_1970_keep_their_differences(
    kind: str, late_by: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_CSV_BATCH_BYTES", 64)
    monkeypatch.setattr(containers, "_BATCH_ROWS", 2)
    path = tmp_path / "t"
    # The first row of the file is not always the earliest.
    ns = [EPOCH_NS + late_by, EPOCH_NS, EPOCH_NS + 100, EPOCH_NS + 5 * 10**9]
    fields = ["arrival_time_ns", "input_toks", "output_toks"]
    _write_rows(path, kind, fields, [(t, 5, 1) for t in ns])
    expected = sorted((t - EPOCH_NS) * 1e-9 for t in ns)
    np.testing.assert_allclose(load(path).arrival_s, expected, rtol=1e-12, atol=1e-17)

    fields = ["timestamp", "input_length", "output_length"]
    _write_rows(path, kind, fields, [(EPOCH_MS + i, 5, 1) for i in range(4)])
    np.testing.assert_allclose(load(path).arrival_s, [0, 1e-3, 2e-3, 3e-3], rtol=1e-12)


def _write_rows(path: Path, kind: str, fields: list[str], rows: list[tuple]) -> None:
    if kind == "csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in [fields, *rows]) + "\n")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(fields, r, strict=True))) for r in rows))
    else:
        pd.DataFrame(rows, columns=fields).to_parquet(path)


def test_bad_times_do_not_spoil_the_exact_ones(tmp_path: Path) -> None:
    path = tmp_path / "t"
    bad = ["x", "", "-1", "inf", "9999999999999999999999", "9223372036854775807e9"]
    times = [EPOCH_NS, *bad, EPOCH_NS + 100, f"{EPOCH_NS + 200}.0"]
    path.write_text(
        "arrival_time_ns,input_toks,output_toks\n" + "".join(f"{t},5,1\n" for t in times)
    )
    with pytest.raises(TraceError, match="line 3: arrival_time_ns is 'x'; expected a finite time"):
        load(path)
    path.write_text(
        "arrival_time_ns,input_toks,output_toks\n"
        + "".join(f"{t},5,1\n" for t in [EPOCH_NS, *bad[:4], EPOCH_NS + 100])
    )
    t = load(path, skip_bad=True)
    np.testing.assert_allclose(t.arrival_s, [0, 1e-7], rtol=1e-12)
    assert t.warnings[0].startswith("dropped bad rows: 4")


def test_dates_are_exact_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_CSV_BATCH_BYTES", 64)
    path = tmp_path / "t"
    rows = [f"2023-11-16 18:17:{i:02}.{i:02}00001,5,1\n" for i in range(60)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows))
    expected = [(i * 10**9 + i * 10**7) / 1e9 for i in range(60)]
    assert load(path).arrival_s.tolist() == expected


def test_ties_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t"
    arrival = np.random.default_rng(0).integers(0, 5, 500)
    rows = "".join(f"{a},{i + 1},1\n" for i, a in enumerate(arrival))
    path.write_text(f"{HEADER}\n{rows}")
    t = load(path)
    assert t.prompt_tokens.tolist() == [
        i + 1 for a in range(5) for i in np.flatnonzero(arrival == a)
    ]


def test_rows_out_of_order_count_against_all_before_them(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"{HEADER}\n5,1,1\n2,2,1\n3,3,1\n")
    assert load(path).warnings == ("rows out of order, now sorted by arrival: 2 of 3",)


def test_parents_count_bad_rows_too(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"{HEADER},parent\n0,1,1,\nbroken\n1,2,1,\n2,x,1,\n3,3,1,2\n4,4,1,0\n5,5,1,6\n")
    t = load(path, skip_bad=True)
    assert t.prompt_tokens.tolist() == [1, 2, 3, 4, 5]
    assert t.parent.tolist() == [-1, -1, 1, 0, -1]  # the last named itself


def test_rows_out_of_order_are_sorted_stably_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"{HEADER},parent\n5,1,1,\n2,2,1,\n\n5,3,1,0\n2,4,1,1\n9,5,1,0\n")
    t = load(path)
    assert t.arrival_s.tolist() == [2, 2, 5, 5, 9]
    assert t.prompt_tokens.tolist() == [2, 4, 1, 3, 5]
    assert t.parent.tolist() == [-1, 0, -1, 2, 2]
    assert t.warnings == ("rows out of order, now sorted by arrival: 2 of 5",)


def test_a_parent_that_was_dropped_or_comes_later_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text(f"{HEADER},parent\n0,1,1,\n1,x,1,\n2,3,1,1\n3,4,1,0\n4,5,1,5\n5,6,1,4\n")
    t = load(path, skip_bad=True)
    assert t.prompt_tokens.tolist() == [1, 3, 4, 5, 6]
    assert t.parent.tolist() == [-1, -1, 0, -1, 3]
    assert t.warnings[1] == "requests whose parent is not among those before them: 2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"arrival_s,prompt_tokens,output_tokens\n", "holds no requests"),
        (b"[]", "fits no trace format"),
        (b"a,b\n1,2\n", "fits no trace format: it is a table with the fields 'a,b'. Looked for"),
        (
            b"TIMESTAMP,ContextTokens,Generated\n",
            "nearest is azure, which also needs GeneratedTokens.*Looked for sabersim .*burstgpt .*"
            "bailian .*mooncake .*vidur .*splitwise .*llmservingsim .*sharegpt .*vllm-bench",
        ),
        (
            b"arrival_s,prompt_tokens,output_tokens,max_token\n0,1,1,1\n",
            "unknown column 'max_token'; .* did you mean 'max_tokens'",
        ),
        (b"arrival_s,prompt_tokens,output_tokens,output_tokens\n0,1,1,1\n", "is there twice"),
        (b'{"a": 1}\n{"a": 2}\n', "fits no trace format"),
        (b'{\n"a": 1\n}\n', "fits no trace format: it is a JSON object with the fields 'a'"),
        (b'{"a": 1\n', "is not valid JSON"),
        (b"[1, 2", "line 1: is not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "holds a number that cannot be read"),
        (b"\xff\xfea\x00b\x00\n", "is not UTF-8 text"),
        (b"arrival_s,prompt_tokens,output_tokens,task\n0,1,1,\xff\n", "cannot be read as CSV"),
        (b"\x1f\x8b\x08\x00garbage", "compressed data is damaged or cut short"),
        (b"\x28\xb5\x2f\xfdgarbage", "compressed data is damaged or cut short"),
        (b"PAR1garbage", "is a damaged Parquet file"),
        (b"x" * 70_000, "has no line break"),
        (
            b'{"input_lens": [1], "output_lens": [1, 2]}',
            "lists of one length.*input_lens: 1, output_lens: 2",
        ),
        (b'{"input_lens": 1, "output_lens": [1, 2]}', "lists of one length"),
        (
            b'{"timestamp": 0, "input_length": 1, "output_length": 1, "chat_id": 1, '
            b'"parent_chat_id": -1, "type": "a\\nb"}',
            "type is .*expected a non-empty, printable text",
        ),
        (
            b"arrival_s,prompt_tokens,output_tokens,hash_ids,block_tokens\n0,1,1,1,16\n0,1,1,1,8\n",
            "block_tokens differs between rows",
        ),
    ],
)
def test_a_file_that_is_no_trace_gets_one_clear_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_cut_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t"
    rows = "".join(f"{i},{i % 977 + 1},3\n" for i in range(50_000))
    path.write_bytes(gzip.compress(f"{HEADER}\n{rows}".encode())[:-200])
    with pytest.raises(TraceError, match="compressed data is damaged or cut short"):
        load(path)


def test_a_summary_says_how_to_save_details() -> None:
    with pytest.raises(TraceError, match="save the result with --save-detailed"):
        load(FIXTURES / "vllm_bench_summary.json")


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="nowhere: no such file"):
        load(tmp_path / "nowhere")
    with pytest.raises(TraceError, match="is a directory"):
        load(tmp_path)


@given(any_trace())
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, t: Trace) -> None:
    folder = tmp_path_factory.mktemp("round")
    for name in ("t.csv", "t.parquet"):
        save(t, folder / name)
        again = load(folder / name)
        assert again == t
        save(again, folder / f"again_{name}")
        assert (folder / name).read_bytes() == (folder / f"again_{name}").read_bytes()


def test_large_tables_round_trip(tmp_path: Path) -> None:
    n = 200_000
    rng = np.random.default_rng(0)
    t = Trace(
        np.sort(rng.random(n)) * 1e5,
        rng.integers(1, 9999, n),
        rng.integers(1, 999, n),
        task=[None if i % 7 == 0 else f"task {i % 5}" for i in range(n)],
        sla_s=np.where(rng.random(n) < 0.5, np.nan, 2.0),
    )
    for name in ("t.csv", "t.parquet"):
        save(t, tmp_path / name)
        assert load(tmp_path / name) == t


def test_saving_says_what_is_wrong(tmp_path: Path) -> None:
    t = load(FIXTURES / "own.csv")
    with pytest.raises(TraceError, match=r"expected \.csv or \.parquet"):
        save(t, tmp_path / "t.txt")
    with pytest.raises(TraceError, match="without requests"):
        save(t[:0], tmp_path / "t.csv")
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(TraceError, match="cannot be written"):
            save(t, tmp_path / "missing" / name)


def test_all_formats_have_a_fixture() -> None:
    names = {format_ for _, format_, *_ in READ} | {
        load(FIXTURES / "sharegpt.json", rps=1).meta["format"]
    }
    assert names == set(FORMATS)


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("AzureLLMInferenceTrace_code.csv", 8819),
        ("AzureLLMInferenceTrace_conv.csv", 19366),
        ("mooncake_synthetic_trace.jsonl", 3993),
    ],
)
def test_published_files(name: str, n: int, tmp_path: Path) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"reference data {name} is not here")
    t = load(DATA / name)
    assert len(t) == n
    assert t.warnings == ()
    assert t.arrival_s[0] == 0
    if t.hash_ids is not None:
        lengths = np.diff(t.hash_ids.offsets)
        assert (lengths == -(-t.prompt_tokens // t.hash_ids.block_tokens)).all()
    save(t, tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet") == t


def test_zstandard_cut_between_blocks_is_no_shorter_trace(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 997 + 1},{i * i % 613 + 1}\n" for i in range(200_000))
    text = f"arrival_s,prompt_tokens,output_tokens\n{rows}"
    whole = zstandard.ZstdCompressor().compress(text.encode())
    path = tmp_path / "cut.csv.zst"
    for share in (0.2, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(TraceError, match="compressed data is damaged or cut short"):
            load(path)
        with pytest.raises(TraceError, match="compressed data is damaged or cut short"):
            load(path, skip_bad=True)
    path.write_bytes(whole)
    assert len(load(path)) == 200_000
