"""What one engine step costs on real hardware: measure, fit, profile."""

from calibrate.profile import Profile, ProfileError, bundled_profiles, load_profile

__all__ = ["Profile", "ProfileError", "bundled_profiles", "load_profile"]
