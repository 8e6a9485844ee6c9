"""`saber calibrate`: look at profiles and fit SABER's speed estimator."""

import typer

from sim.cli_calibrate_show import show
from sim.cli_calibrate_speed import speed

app = typer.Typer(help="Look at profiles and fit SABER's speed estimator.")
app.command()(show)
app.command()(speed)
