"""The regression gate: a suite of scenarios and guards, judged on paired differences over seeds."""
