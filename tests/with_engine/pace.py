"""The device that the engine under test is held to: what a step of it takes."""

STEP_S, SEQUENCE_S, CONTEXT_TOKEN_S, PROMPT_TOKEN_S = 0.016, 4e-4, 2e-7, 6e-5


def step_s(sequences, context_tokens, prompt_tokens):
    """Return the seconds of a step: that many decodes with so much context in all, and prompts."""
    decodes_s = SEQUENCE_S * sequences + CONTEXT_TOKEN_S * context_tokens
    return STEP_S + decodes_s + PROMPT_TOKEN_S * prompt_tokens
