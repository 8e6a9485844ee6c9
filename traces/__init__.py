"""What arrives: read, generate, transform and describe request traces."""
