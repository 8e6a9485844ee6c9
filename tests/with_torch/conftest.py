"""Tests that need PyTorch: without it they are skipped, file by file, with the reason.

The folder must not be called torch: pytest puts `tests` on the import path, and where PyTorch is
missing, `import torch` would then find the folder and succeed.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class _NeedsTorch(pytest.Module):
    """A test file that is not even imported."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("needs PyTorch: pip install torch", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    """Skip the files of this folder where PyTorch is not installed."""
    if find_spec("torch") is None:
        return _NeedsTorch.from_parent(parent, path=module_path)
    return None
