"""How far a roofline is from what was measured on the same device with the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.architectures import architecture
from calibrate.devices import reported_device
from calibrate.evidence import errors_by_kind, points_of
from calibrate.library import bundled_profiles, load_profile
from calibrate.roofline import roofline_cost
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from calibrate.profile import Profile
    from calibrate.steptime import StepCost

MEASURED_METHODS = ("torch", "endpoint")
# What errors_by_kind says: percent by kind of step.
Errors = dict[str, dict[str, float]]


def roofline_error(measured: Profile) -> Errors:
    """Return how far the roofline of a measured profile's device and model is from its raw points.

    Returns
    -------
    dict
        By kind of step, what `calibrate.evidence.errors_by_kind` says: `mape`, `p95`, `max` and
        `bias`, in percent of what was measured; a bias under 0 means that the roofline is
        faster, as a bound should be. Empty for a profile that was not measured step by step, and
        for one whose device, model, dtype or quantisation has no published roofline.

    Raises
    ------
    ProfileError
        For raw points that cannot be read.
    """
    cost = _roofline_cost_of(measured)
    return {} if cost is None else errors_by_kind(cost, points_of(measured))


def measured_twins(
    roofline: Profile, candidates: Iterable[Profile] | None = None
) -> tuple[Profile, ...]:
    """Return the measured profiles of a roofline's device and model.

    Parameters
    ----------
    roofline : Profile
    candidates : iterable of Profile, optional
        Where to look; the bundled profiles when left out.
    """
    if candidates is None:
        candidates = (load_profile(name) for name in bundled_profiles())
    wanted = (roofline.cost, roofline.model.get("name"), roofline.model.get("dtype"))
    return tuple(
        other
        for other in candidates
        if (_roofline_cost_of(other), other.model.get("name"), other.model.get("dtype")) == wanted
    )


def roofline_errors(profile: Profile) -> dict[str, Errors]:
    """Return `roofline_error` by the name of the measured profile.

    Of a measured profile its own, of a roofline those of its bundled twins; empty without any.
    """
    measured = measured_twins(profile) if profile.method == "roofline" else (profile,)
    found = {twin.name: roofline_error(twin) for twin in measured}
    return {name: errors for name, errors in found.items() if errors}


def _roofline_cost_of(measured: Profile) -> StepCost | None:
    """Return the roofline of what a profile was measured on; None where none is published."""
    model = measured.model
    device = reported_device(measured.device.get("name"))
    if measured.method not in MEASURED_METHODS or device is None or model.get("quantisation"):
        return None
    # What the shapes or the dtype are not known for, or shared unevenly, has no bound.
    try:
        arch = architecture(str(model.get("name")))
        count = measured.device.get("count", 1)
        return roofline_cost(arch, device, str(model.get("dtype")), count)
    except ProfileError:
        return None
