"""The eight figures of the study, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.study.bars import BARS
from sim.study.completion import COMPLETION
from sim.study.estimators import ESTIMATOR_LINES
from sim.study.gains import GAINS
from sim.study.grids import HEAT_MAPS, LINES
from sim.study.speeds import SPEEDS
from sim.study.stability import STABILITY

if TYPE_CHECKING:
    from sim.study.figure import StudyFigure

FIGURES: tuple[StudyFigure, ...] = (
    HEAT_MAPS,
    LINES,
    BARS,
    COMPLETION,
    GAINS,
    STABILITY,
    ESTIMATOR_LINES,
    SPEEDS,
)
