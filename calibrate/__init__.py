"""What one engine step costs on real hardware: measure, fit, profile."""
