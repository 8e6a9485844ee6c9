"""The KV capacity of a profile's device under another share of its memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from calibrate.kv import kv_tokens
from calibrate.schema import ProfileError, integer, number

if TYPE_CHECKING:
    from calibrate.profile import Profile


def with_utilization(profile: Profile, utilization: float) -> Profile:
    """Return the profile with the KV capacity that a share of its devices' memory leaves.

    `calibrate.kv.kv_tokens` of what the profile says. An assumed capacity stays an assumed one.

    Parameters
    ----------
    profile : Profile
        With `memory_bytes`, and where known `count`, `activation_reserve_bytes` and
        `free_bytes_with_weights`, all of each device, in `device`; `weight_bytes` and
        `kv_bytes_per_token` in `model`.
    utilization : float
        Over 0, at most 1.

    Raises
    ------
    ProfileError
        That names what the profile lacks, or when not one token fits.
    """
    device, model = profile.device, profile.model
    facts = {
        "device.memory_bytes": device.get("memory_bytes"),
        "model.weight_bytes": model.get("weight_bytes"),
        "model.kv_bytes_per_token": model.get("kv_bytes_per_token"),
    }
    missing = [name for name, value in facts.items() if value is None]
    if missing:
        raise ProfileError(
            f"{profile.name}: gpu_memory_utilization={utilization:g} needs "
            f"{' and '.join(missing)}, which the profile does not have: give kv_tokens instead"
        )
    memory, weights, token = (
        number(f"{profile.name}: {name}", value, above=0) for name, value in facts.items()
    )
    count = integer(f"{profile.name}: device.count", device.get("count", 1), at_least=1)
    reserve = count * number(
        f"{profile.name}: device.activation_reserve_bytes",
        device.get("activation_reserve_bytes", 0),
        at_least=0,
    )
    free = device.get("free_bytes_with_weights")
    if free is not None:
        name = f"{profile.name}: device.free_bytes_with_weights"
        free = count * number(name, free, at_least=0)
    try:
        tokens = kv_tokens(memory * count, utilization, weights, reserve, token, free)
    except ProfileError as error:
        raise ProfileError(f"{profile.name}: {error}") from None
    assumed = "assumed: " if profile.kv_source.startswith("assumed") else ""
    source = f"{assumed}{utilization:g} of the memory less weights and activations, for this run"
    return replace(profile, kv_tokens=tokens, kv_source=source)
