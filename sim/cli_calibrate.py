"""`saber calibrate`: measure hardware, look at profiles, fit SABER's speed estimator."""

import typer

from sim.cli_calibrate_endpoint import endpoint
from sim.cli_calibrate_gpu import gpu
from sim.cli_calibrate_imported import imported
from sim.cli_calibrate_show import show
from sim.cli_calibrate_speed import speed

app = typer.Typer(help="Measure hardware, look at profiles, fit SABER's speed estimator.")
app.command()(gpu)
app.command()(endpoint)
app.command()(imported)
app.command()(show)
app.command()(speed)
