"""Bundled profiles, one JSON file each; every number names its source."""
