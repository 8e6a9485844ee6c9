"""The discrete-event simulator and the command line."""
