"""vLLM's own worker, held to the pace of a device whose speed is known.

On a shared CPU the same step takes now 3 ms and then 6. A GPU's step takes as long as it takes,
with the processor waiting. So the worker waits here: scheduler, KV cache, sampling, streams and
HTTP are vLLM's, and only the time of the forward pass is given. What is off then is off because of
how the engine works, not because of who else uses the machine.
"""

import time

from pace import step_s
from vllm.v1.worker.cpu_worker import CPUWorker


class PacedWorker(CPUWorker):
    """Ends no step before its time; a step that is late by itself is not made up for."""

    def execute_model(self, scheduler_output):
        """Begin a step; what it computes is vLLM's."""
        began_s = time.perf_counter()
        cached = scheduler_output.scheduled_cached_reqs
        computed = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        tokens = scheduler_output.num_scheduled_tokens
        decodes = [name for name, number in tokens.items() if number == 1 and name in computed]
        prompt_tokens = scheduler_output.total_num_scheduled_tokens - len(decodes)
        context_tokens = sum(computed[name] + 1 for name in decodes)
        self.ends_s = began_s
        if tokens:  # else it is only told who has left
            self.ends_s += step_s(len(decodes), context_tokens, prompt_tokens)
        return self._in_time(super().execute_model(scheduler_output))

    def sample_tokens(self, grammar_output):
        """End a step that `execute_model` began."""
        return self._in_time(super().sample_tokens(grammar_output))

    def _in_time(self, output):
        if output is not None:  # else the tokens are still to be sampled
            time.sleep(max(self.ends_s - time.perf_counter(), 0.0))
        return output
