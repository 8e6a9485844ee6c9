"""A running OpenAI-compatible server, measured from outside through its streams."""
