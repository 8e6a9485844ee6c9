"""Tests against a real engine: without vLLM they are skipped, file by file, with the reason.

The folder must not be called vllm: pytest puts `tests` on the import path, and where vLLM is
missing, `import vllm` would then find the folder and succeed.
"""

from importlib.util import find_spec

import pytest


class _NeedsEngine(pytest.Module):
    """A test file that is not even imported."""

    def collect(self):
        pytest.skip("needs vLLM: make test-engine", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    """Skip the files of this folder where vLLM is not installed."""
    if find_spec("vllm") is None:
        return _NeedsEngine.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """Return the one engine of all tests: `url`, `model`, `log`."""
    from running import engine_in

    with engine_in(tmp_path_factory.mktemp("engine")) as running:
        yield running
