"""Capacity planning: how many of which replica, under which policy, and how sure that is."""
