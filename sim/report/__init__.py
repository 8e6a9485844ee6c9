"""A page that shows what happened in one run, or between several.

`sim.report.page.report_page` makes it from runs that `sim.runfile.read_run` read.
"""
