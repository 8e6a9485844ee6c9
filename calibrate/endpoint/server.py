"""What a server turns out to be: what it tells about itself, and what it takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calibrate.endpoint.probe import probe
from calibrate.schema import ProfileError, nearest

if TYPE_CHECKING:
    import numpy as np

    from calibrate.endpoint.client import Client, Endpoint

FACTS_S = 10.0
"""A server that takes longer to tell about itself is asked without."""

_WORDS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea body information back "
    "parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education"
)
WORDS = tuple(_WORDS.split())
"""One token each, with the space before it, in about every vocabulary."""


@dataclass(frozen=True)
class Server:
    """What a server turned out to be.

    Parameters
    ----------
    endpoint : Endpoint
        With the model and the extra entries of the body that it takes.
    takes_ids : bool
        Whether prompts are token ids; else they are text of words.
    vocabulary : (low, high)
        The ids that prompts are drawn from, `high` excluded.
    tokens_per_word : float
        Tokens of one more word in a prompt of text.
    tokens_fixed : int
        And those of such a prompt beside its words: those of the chat's template, say.
    keeps_length : bool
        Whether it generates as many tokens as asked for.
    counts_tokens : str
        Whether it tells the number of tokens in "each message", "at the end" or "no".
    engine, version : str
        As "vllm" and "0.11.0"; empty where unknown.
    max_model_len : int or None
        The most tokens of a prompt and its answer.
    kv_tokens, block_size : int or None
        Of its KV cache.
    metrics : bool
        Whether it offers vllm's metrics.
    requests : int
        Completions that were sent to find all this out.
    """

    endpoint: Endpoint
    takes_ids: bool
    vocabulary: tuple[int, int]
    tokens_per_word: float
    tokens_fixed: int
    keeps_length: bool
    counts_tokens: str
    engine: str
    version: str
    max_model_len: int | None
    kv_tokens: int | None
    block_size: int | None
    metrics: bool
    requests: int

    def prompt(self, tokens: int, rng: np.random.Generator) -> tuple[int, ...] | str:
        """Return a random prompt of so many tokens: no other begins like it, so none is cached.

        Of text it is as near as whole words come to that, one word at least.
        """
        if self.takes_ids:
            return tuple(rng.integers(*self.vocabulary, size=max(tokens, 1)).tolist())
        words = max(round((tokens - self.tokens_fixed) / self.tokens_per_word), 1)
        return text_of(words, rng)


def text_of(words: int, rng: np.random.Generator) -> str:
    """Return a text of so many random words."""
    return " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=words))


async def look_at(client: Client, rng: np.random.Generator) -> Server:
    """Return what the server behind `client` is; sends a few completions of a few tokens.

    Raises
    ------
    ConnectionError
        In one line, when it does not answer.
    ProfileError
        In one line, when it has no such model, wants another key, or gives no completions.
    """
    described = await _described(client)
    version = await _fact(client, "/version")
    metrics = await _metrics(client)
    found = await probe(client, text_of, rng)
    owner = described.get("owned_by")
    is_vllm = owner == "vllm" or metrics is not None
    told = version.get("version")
    return Server(
        endpoint=found.endpoint,
        takes_ids=found.takes_ids,
        vocabulary=found.vocabulary,
        tokens_per_word=found.tokens_per_word,
        tokens_fixed=found.tokens_fixed,
        keeps_length=found.keeps_length,
        counts_tokens=found.counts_tokens,
        engine="vllm" if is_vllm else _name(owner),
        version=_name(told),
        max_model_len=_size(described.get("max_model_len")),
        kv_tokens=None if metrics is None else metrics[0],
        block_size=None if metrics is None else metrics[1],
        metrics=metrics is not None,
        requests=found.requests,
    )


async def _described(client: Client) -> dict[str, Any]:
    """Return what the server tells of the model; nothing where it lists none."""
    answer = await client.get("/models")
    url, model = client.endpoint.url, client.endpoint.model
    if answer.http_status in (401, 403):
        raise ProfileError(
            f"{url} does not let us in ({client.endpoint.without_key(answer.said)}): name the "
            "variable that holds its key with --api-key-env"
        )
    listed = answer.json()
    models = listed.get("data") if isinstance(listed, dict) else None
    if answer.http_status != 200 or not isinstance(models, list):
        return {}  # its completions will show whether it has the model
    names = [str(each["id"]) for each in models if isinstance(each, dict) and each.get("id")]
    for each in models:
        if isinstance(each, dict) and each.get("id") == model:
            return each
    if not names:
        return {}
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise ProfileError(
        f"{url} has no model {model!r}, expected one of: {shown}{nearest(model, names)}"
    )


async def _fact(client: Client, path: str) -> dict[str, Any]:
    """Return the JSON object that the server tells at its root, or an empty one."""
    try:
        async with asyncio.timeout(FACTS_S):
            answer = await client.get(path, root=True)
    except (ConnectionError, TimeoutError):
        return {}
    value = answer.json() if answer.http_status == 200 else None
    return value if isinstance(value, dict) else {}


async def _metrics(client: Client) -> tuple[int | None, int | None] | None:
    """Return the tokens and the block size of the KV cache; None without vllm's metrics."""
    try:
        async with asyncio.timeout(FACTS_S):
            answer = await client.get("/metrics", root=True)
    except (ConnectionError, TimeoutError):
        return None
    return cache_of(answer.body.decode("utf-8", "replace")) if answer.http_status == 200 else None


def cache_of(metrics: str) -> tuple[int | None, int | None] | None:
    """Return the KV cache's (tokens, block size) in the Prometheus text of vllm's metrics.

    None in place of what is not told, and None for a text without metrics of vllm's. Of several
    engines behind one server it is the first one's.
    """
    from prometheus_client.parser import text_string_to_metric_families

    offered = False
    whole = metrics[: metrics.rfind("\n") + 1]
    try:
        for family in text_string_to_metric_families(whole):
            offered = offered or family.name.startswith("vllm:")
            for sample in family.samples:
                if sample.name == "vllm:cache_config_info":
                    block = _size(sample.labels.get("block_size"))
                    blocks = _size(sample.labels.get("num_gpu_blocks"))
                    told = _size(sample.labels.get("kv_cache_size_tokens"))
                    return told or (blocks * block if blocks and block else None), block
    except ValueError:  # no Prometheus text, from here on at least
        pass
    return (None, None) if offered else None


def _size(value: object) -> int | None:
    """Return a size told as a number or as its text, or None."""
    text = str(value)
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _name(value: object) -> str:
    """Return a name that somebody told, or an empty text."""
    return value[:60] if isinstance(value, str) and value.isprintable() else ""
