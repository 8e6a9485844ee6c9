"""Results of others' benchmark tools: read them, and calibrate from them."""
