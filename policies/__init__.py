"""Pure decisions: what to admit and where to route."""
