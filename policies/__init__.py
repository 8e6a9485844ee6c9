"""Pure decisions: what to admit, where to route, and how many replicas."""
