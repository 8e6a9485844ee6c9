"""Bundled profiles, one JSON file each; every number names its source.

The files roofline-*.json are computed; after a change to the computation, write them anew with:

    python -c "from calibrate.roofline import rooflines
    for p in rooflines('qwen2.5-coder-7b'): p.save(f'calibrate/profiles/{p.name}.json')"
"""
