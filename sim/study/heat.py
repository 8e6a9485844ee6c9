"""Parts of heat maps: colours, numbers in cells, frames round them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MINUS = "\N{MINUS SIGN}"
COLOURS = "cividis"
"""Perceptually uniform, for colour-blind readers, and lighter means more."""


def write_cells(
    ax: Axes, values: NDArray[np.float64], colour: Callable[[float], str], sign: str = ""
) -> None:
    """Write each number, rounded, into its cell; cells without one stay empty.

    `colour` gives the colour of a number's text, `sign` "+" shows the sign of those above 0 too.
    """
    for row, numbers in enumerate(values.tolist()):
        for column, number in enumerate(numbers):
            if number == number:
                ax.text(
                    column + 0.5,
                    row + 0.47,
                    f"{round(number):{sign if round(number) else ''}d}".replace("-", MINUS),
                    ha="center",
                    va="center",
                    fontsize=5.5,
                    color=colour(number),
                )


def frame(ax: Axes, x: float, y: float, width: float) -> None:
    """Frame cells of a heat map that lie side by side."""
    from matplotlib.patches import Rectangle

    # White under black shows on light and on dark cells.
    for colour, line in (("white", 2.2), ("black", 1.0)):
        ax.add_patch(
            Rectangle(
                (x + 0.06, y + 0.06),
                width - 0.12,
                0.88,
                fill=False,
                edgecolor=colour,
                linewidth=line,
                joinstyle="miter",
            )
        )
