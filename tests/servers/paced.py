"""An OpenAI-compatible server around an engine of known cost, in real time on loopback.

A step's tokens go out at the absolute instant at which the step ends, so that a late wake-up does
not move the steps that follow.
"""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

from servers.engine import Engine
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

METRICS = """\
# HELP vllm:cache_config_info Information of the KV cache
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",num_gpu_blocks="%d",engine="0"} 1.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 0.0
"""


class Paced:
    """The server; `app` is its ASGI application.

    Parameters
    ----------
    cost : StepCost
    model, max_model_len, kv_blocks
        What it tells about itself; None for what it does not tell.
    ids, keeps, counts
        Whether it takes token ids; which of "ignore_eos" and "min_tokens" it takes; whether it
        counts tokens "each message", "at the end" or "no".  It refuses what it does not take.
    key
        The key that it wants.
    most_at_once
        Requests beyond so many are turned away with 429 and Retry-After.
    lives
        Completions that it answers before it answers each with 500.
    chat
        Whether it has only the chat API, with a template of 5 tokens.
    **engine
        Settings of `Engine`.
    """

    def __init__(
        self,
        cost,
        *,
        model="m",
        max_model_len=4096,
        kv_blocks=10_000,
        ids=True,
        keeps=("ignore_eos", "min_tokens"),
        counts="each message",
        key=None,
        most_at_once=None,
        lives=None,
        chat=False,
        **engine,
    ):
        self.engine = Engine(cost, **engine)
        self.model, self.max_model_len, self.kv_blocks = model, max_model_len, kv_blocks
        self.ids, self.keeps, self.counts = ids, keeps, counts
        self.key, self.most_at_once, self.lives = key, most_at_once, lives
        self.template = 5 if chat else 0
        self.asked = []  # the body of each completion
        self.streams = {}
        self._pace = None
        self._work = asyncio.Event()
        completions = "/v1/chat/completions" if chat else "/v1/completions"
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/version", self.version),
                Route("/metrics", self.metrics),
                Route(completions, self.complete, methods=["POST"]),
            ]
        )

    async def models(self, request):
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "no such key"}}, 401)
        told = {"id": self.model, "object": "model", "owned_by": "paced"}
        if self.max_model_len:
            told["max_model_len"] = self.max_model_len
        return JSONResponse({"object": "list", "data": [told, {"id": "other"}]})

    async def version(self, request):
        return JSONResponse({"version": "1.2.3"})

    async def metrics(self, request):
        if self.kv_blocks is None:
            return PlainTextResponse("no metrics here", 404)
        return PlainTextResponse(METRICS % self.kv_blocks)

    async def complete(self, request):
        body = await request.json()
        self.asked.append(body)
        wrong = self._wrong(body)
        if wrong:
            return JSONResponse({"error": {"message": wrong}}, 400)
        if self.lives is not None and len(self.asked) > self.lives:
            return JSONResponse({"error": {"message": "out of order"}}, 500)
        if self.most_at_once is not None and len(self.streams) >= self.most_at_once:
            headers = {"retry-after": "0.05"}
            return JSONResponse({"error": {"message": "too many"}}, 429, headers)
        sequence = self.engine.add(self._tokens(body), body["max_tokens"])
        queue = self.streams[sequence.number] = asyncio.Queue()
        if self._pace is None:
            self._pace = asyncio.create_task(self._run())
        self._work.set()
        return StreamingResponse(
            self._stream(sequence, queue, body), media_type="text/event-stream"
        )

    def _wrong(self, body):
        prompt = body.get("prompt")
        if isinstance(prompt, list) and not self.ids:
            return "prompt: expected a text"
        for name in ("ignore_eos", "min_tokens"):
            if name in body and name not in self.keeps:
                return f"{name}: unknown parameter"
        options = body.get("stream_options") or {}
        if options and self.counts == "no":
            return "stream_options: unknown parameter"
        if "continuous_usage_stats" in options and self.counts != "each message":
            return "continuous_usage_stats: unknown parameter"
        if self.max_model_len and self._tokens(body) + body["max_tokens"] > self.max_model_len:
            return f"this model has a context of {self.max_model_len} tokens"
        return ""

    def _tokens(self, body):
        prompt = body["messages"][0]["content"] if "messages" in body else body["prompt"]
        return self.template + len(prompt.split() if isinstance(prompt, str) else prompt)

    async def _stream(self, sequence, queue, body):
        running = (body.get("stream_options") or {}).get("continuous_usage_stats")
        counts = {"prompt_tokens": sequence.prompt_tokens, "completion_tokens": 0}
        try:
            for n in range(1, body["max_tokens"] + 1):
                await queue.get()
                counts["completion_tokens"] = n
                reason = "length" if n == body["max_tokens"] else None
                content = {"delta": {"content": "w "}} if self.template else {"text": "w "}
                message = {"choices": [{"index": 0, **content, "finish_reason": reason}]}
                if running:
                    message["usage"] = counts
                yield f"data: {json.dumps(message)}\n\n"
            if self.counts != "no" and body.get("stream_options"):
                yield f"data: {json.dumps({'choices': [], 'usage': counts})}\n\n"
            yield "data: [DONE]\n\n"
        finally:
            del self.streams[sequence.number]
            self.engine.drop(sequence)

    async def _run(self):
        end_s = time.perf_counter()
        while True:
            if not self.engine.busy:
                self._work.clear()
                await self._work.wait()
                end_s = time.perf_counter()
            seconds, given = self.engine.step()
            end_s += seconds
            await asyncio.sleep(max(end_s - time.perf_counter(), 0))
            for sequence in given:
                if sequence.number in self.streams:
                    self.streams[sequence.number].put_nowait(None)


@contextmanager
def serving(app):
    """Serve an ASGI application on loopback, in a thread; yields its address."""
    import uvicorn

    # With its protocol named, or asyncio leaves small packets to wait for each other.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)  # a client may be there before the thread is
        config = uvicorn.Config(
            app, log_level="critical", http="h11", ws="none", lifespan="off", loop="asyncio"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)
