"""What a policy could reach that knew everything: the best found, and what none can exceed."""
