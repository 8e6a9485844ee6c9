"""A run for other tools: a trace for Perfetto, metrics for Prometheus under vLLM's names."""
