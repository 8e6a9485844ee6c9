"""What arrives: read, generate, transform and describe request traces."""

from traces.describe import describe
from traces.formats import load, save
from traces.request import Request, Trace, TraceError
from traces.workloads import workload

__all__ = ["Request", "Trace", "TraceError", "describe", "load", "save", "workload"]
