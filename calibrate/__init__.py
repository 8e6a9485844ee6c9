"""What one engine step costs on real hardware: measure, fit, profile."""

from calibrate.library import bundled_profiles, load_profile
from calibrate.profile import Profile, ProfileError

__all__ = ["Profile", "ProfileError", "bundled_profiles", "load_profile"]
