"""Result files of benchmark tools: which tool's one is, and the runs in it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibrate.imported import guidellm, inference_perf, vllm
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from calibrate.imported.result import Imported

MOST_BYTES = 1 << 30
"""Larger files would take a multiple of that in memory."""

READERS = (vllm, guidellm, inference_perf)
KNOWN = (
    "the result of vllm bench serve (--save-result --save-detailed), the JSON or YAML report of "
    "GuideLLM, or a lifecycle report of inference-perf"
)
_YAML = re.compile(r"^benchmarks:", re.MULTILINE)


def read_results(path: str | os.PathLike[str]) -> tuple[Imported, ...]:
    """Return the runs in a result file, told apart by its content.

    vllm's appended results and the several benchmarks of GuideLLM's report are a run each.

    Parameters
    ----------
    path : JSON, JSON lines or YAML
        Of ``vllm bench serve`` or the older benchmark_serving.py; of GuideLLM 0.2 to 0.8; of
        inference-perf 0.1 to 0.7.

    Raises
    ------
    ProfileError
        One line that names the file, the place, the value, and what was expected.
    """
    name = os.fspath(path)
    documents = _documents(name, _text(name))
    found: list[Imported] = []
    for i, document in enumerate(documents):
        source = Path(name).name + (f", run {i + 1}" if len(documents) > 1 else "")
        where = name if len(documents) == 1 else f"{name}: run {i + 1}"
        reader = next((reader for reader in READERS if reader.is_result(document)), None)
        if reader is None:
            raise ProfileError(f"{where}: {_described(document)}, expected {KNOWN}")
        try:
            found += reader.read(document, source)
        except ProfileError as error:
            raise ProfileError(f"{where}: {reader.TOOL}: {error}") from None
    return tuple(found)


def _text(name: str) -> str:
    file = Path(name)
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise ProfileError(
                f"{name}: has {size / 1e9:.1f} GB, expected at most {MOST_BYTES / 1e9:.1f}: a run "
                "of fewer requests is enough"
            )
        content = file.read_bytes()
    except OSError as error:
        raise ProfileError(f"{name}: cannot read the results: {error.strerror}") from None
    if content[:2] == b"\x1f\x8b" or content[:4] == b"\x28\xb5\x2f\xfd":
        raise ProfileError(f"{name}: is compressed, expected plain JSON: unpack it first")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProfileError(f"{name}: is no UTF-8 text, expected {KNOWN}") from None
    if not text.strip():
        raise ProfileError(f"{name}: is empty, expected {KNOWN}")
    return text


def _documents(name: str, text: str) -> list[Any]:
    """Return the JSON or YAML values of a file, a line each where there are several."""
    if text.lstrip()[0] not in "{[":
        return [_yaml(name, text)]
    try:
        return [json.loads(text)]
    except RecursionError:
        raise ProfileError(f"{name}: is nested too deeply, expected {KNOWN}") from None
    except ValueError as error:
        problem: ValueError = error
    lines = [(i, line) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]
    documents = []
    for number, line in lines:
        try:
            documents.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if not documents:
                break  # no JSON lines either: what is wrong with it as a whole says more
            raise ProfileError(
                f"{name}:{number}: is cut off or no JSON: {error}; expected a result a line"
            ) from None
    if not documents:
        raise ProfileError(f"{name}: is cut off or no JSON: {problem}; expected {KNOWN}") from None
    return documents


def _yaml(name: str, text: str) -> Any:
    if not _YAML.search(text):
        raise ProfileError(f"{name}: is neither JSON nor GuideLLM's YAML, expected {KNOWN}")
    try:
        import yaml
    except ImportError:
        raise ProfileError(
            f"{name}: reading YAML needs PyYAML; install it, or have GuideLLM write JSON"
        ) from None
    try:
        # The loader in C, where there is one, is ten times as fast.
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise ProfileError(f"{name}: is cut off or no YAML: {reason}; expected {KNOWN}") from None


def _described(document: object) -> str:
    if isinstance(document, dict):
        keys = ", ".join(sorted(map(str, document))[:8])
        return f"is no result that is known: its keys are {keys or 'none at all'}"
    return f"is no result that is known: it is a JSON {type(document).__name__}"
