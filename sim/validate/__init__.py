"""A real server beside its simulation: the same policies, the same arrivals, in real time."""
