"""Which tests run: the long ones only when asked for; and what several of them look at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from study_run import whole_study

if TYPE_CHECKING:
    from pathlib import Path


# How long an example takes is no fault of the code: machines are shared.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out nightly tests unless ``-m`` says which tests are wanted."""
    if config.option.markexpr:
        return
    nightly = [item for item in items if item.get_closest_marker("nightly")]
    config.hook.pytest_deselected(items=nightly)
    items[:] = [item for item in items if item not in nightly]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with all that `saber figures` writes; takes minutes."""
    base = tmp_path_factory.getbasetemp()
    # Workers have a folder each, in one that they share.
    return whole_study((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "study")
