"""Measurements that other tools made of a server: `vllm bench serve`, GuideLLM, inference-perf."""
