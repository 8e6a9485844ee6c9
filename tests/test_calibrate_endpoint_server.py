"""What a server turns out to be, whatever it takes and tells."""

import asyncio

import numpy as np
import pytest
from endpoint_cases import COST
from servers.paced import Paced, serving

from calibrate import ProfileError
from calibrate.endpoint import probe
from calibrate.endpoint.client import Client, Endpoint
from calibrate.endpoint.exchange import Ask
from calibrate.endpoint.server import cache_of, look_at


def looked_at(paced, model="m", api="completions", key=""):
    """Return what the server turns out to be, and the reply to a prompt of 40 tokens then."""

    async def look(url):
        rng = np.random.default_rng(0)
        async with Client(Endpoint(url + "/v1", model, api, key)) as client:
            server = await look_at(client, rng)
        async with Client(server.endpoint) as client:
            return server, await client.complete(Ask(server.prompt(40, rng), 3))

    with serving(paced.app) as url:
        return asyncio.run(look(url))


def test_a_server_that_takes_all_and_tells_all_is_asked_once():
    paced = Paced(COST)
    server, reply = looked_at(paced)
    assert server.takes_ids and server.keeps_length and server.metrics
    assert server.counts_tokens == "each message"
    assert (server.engine, server.version) == ("vllm", "1.2.3")
    assert (server.max_model_len, server.kv_tokens, server.block_size) == (4096, 160_000, 16)
    assert server.requests == 1 and len(paced.asked) == 2
    assert (reply.status, reply.prompt_tokens, reply.output_tokens) == ("finished", 40, 3)


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("keeps", [("ignore_eos",), ("min_tokens",), ()])
@pytest.mark.parametrize("counts", ["each message", "at the end", "no"])
def test_what_a_server_does_not_take_is_left_out(ids, keeps, counts):
    paced = Paced(COST, ids=ids, keeps=keeps, counts=counts, kv_blocks=None)
    server, reply = looked_at(paced)
    # Without counts there is no telling whether a list of numbers was taken for tokens.
    assert server.takes_ids == (ids and counts != "no")
    assert server.keeps_length == bool(keeps)
    assert server.counts_tokens == counts
    assert not server.metrics and server.kv_tokens is None
    assert server.engine == "paced"
    assert server.requests == len(paced.asked) - 1 <= probe.MOST_PROBES
    assert (reply.status, reply.output_tokens) == ("finished", 3)
    assert reply.prompt_tokens == (None if counts == "no" else 40)
    assert ("min_tokens" in paced.asked[-1]) == (keeps == ("min_tokens",))


def test_a_chats_template_is_counted_in():
    server, reply = looked_at(Paced(COST, chat=True), api="chat")
    assert (server.takes_ids, server.tokens_per_word, server.tokens_fixed) == (False, 1.0, 5)
    assert reply.prompt_tokens == 40


def test_prompts_are_unique_and_of_their_length():
    server, _ = looked_at(Paced(COST))
    rng = np.random.default_rng(1)
    prompts = [server.prompt(12, rng) for _ in range(50)]
    assert {len(prompt) for prompt in prompts} == {12}
    assert len({prompt[:4] for prompt in prompts}) == 50


def test_a_model_it_does_not_have_is_an_error_that_names_those_it_has():
    with pytest.raises(ProfileError, match=r"no model 'mm', expected one of: m, other") as error:
        looked_at(Paced(COST), model="mm")
    assert "\n" not in str(error.value)


def test_a_missing_key_is_an_error_that_says_how_to_give_one():
    with pytest.raises(ProfileError, match=r"no such key.*--api-key-env"):
        looked_at(Paced(COST, key="secret"))


def test_the_key_is_sent_and_shown_nowhere():
    server, reply = looked_at(Paced(COST, key="secret"), key="secret")
    assert reply.status == "finished"
    assert "secret" not in repr(server)


def test_another_api_is_an_error_that_says_so():
    with pytest.raises(ProfileError, match=r"gives no completions \(HTTP 404.*--api"):
        looked_at(Paced(COST), api="chat")


def test_a_server_that_is_not_there_is_one_line():
    async def look():
        async with Client(Endpoint("http://127.0.0.1:9/v1", "m")) as client:
            await look_at(client, np.random.default_rng(0))

    with pytest.raises(ConnectionError, match="no connection"):
        asyncio.run(look())


def test_one_that_turns_all_away_is_given_up_after_few_requests(monkeypatch):
    monkeypatch.setattr(probe, "LONGEST_WAIT_S", 0.01)
    paced = Paced(COST, most_at_once=0)
    with pytest.raises(ConnectionError, match=r"turned 4 requests away, the last with HTTP 429"):
        looked_at(paced)
    assert len(paced.asked) == 4


METRICS = """\
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{{block_size="{}",num_gpu_blocks="{}",kv_cache_size_tokens="{}"}} 1.0
"""


def test_the_cache_is_read_from_the_metrics():
    assert cache_of(METRICS.format(16, 100, "None")) == (1600, 16)
    assert cache_of(METRICS.format(16, 100, 1500)) == (1500, 16)
    assert cache_of(METRICS.format(16, "None", "None")) == (None, 16)
    assert cache_of("# TYPE vllm:x gauge\nvllm:x 1.0\n") == (None, None)
    assert cache_of("# TYPE other gauge\nother 1.0\n") is None
    assert cache_of("<html>no metrics</html>") is None
    assert cache_of(METRICS.format(16, 100, "None") + 'vllm:torn{a="') == (1600, 16)
