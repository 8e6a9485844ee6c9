"""From what a user gives, a text or an object, to a policy, a router or a scaler."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policies.protocol import PolicyError
from policies.text import nearest, parse_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Kind:
    """One kind of decision: what may be given for it, and how it is told.

    Attributes
    ----------
    name : str
        For messages: policy, router.
    factories : mapping of str to dataclass
        The project's own, by the name they have on a command line.
    method : str
        What an object must be able to do, such as ``start(rng, profile)``.
    arguments : tuple of str
        What a plain function is given instead.
    wrap : callable
        Makes an object of a function and a label.
    guard : callable
        Makes an object of one from a user's module, whose failures are told in one line.
    """

    name: str
    factories: Mapping[str, type[Any]]
    method: str
    arguments: tuple[str, ...]
    wrap: Callable[[Callable[..., Any], str], Any]
    guard: Callable[[Any], Any]

    def make(self, source: object) -> Any:
        """Return the object that `source` means.

        Parameters
        ----------
        source : str, object or callable
            ``name``, ``name(value, parameter=value)``, ``module:object``, an object that has the
            method and a label, or a function.

        Raises
        ------
        PolicyError
            If the name, a parameter or a value is not known, or the object is not of this kind.
        """
        if not isinstance(source, str):
            return self._accept(source, getattr(source, "__name__", type(source).__name__))
        text = source.strip()
        if ":" not in text.split("(")[0]:
            return parse_call(
                text, self.factories, self.name, hint=" (module:object names your own)"
            )
        found = self._accept(self._import(text), text)
        return found if isinstance(found, tuple(self.factories.values())) else self.guard(found)

    def _import(self, text: str) -> object:
        """Return the object that ``module:object`` names."""
        module_name, _, path = text.partition(":")
        what = f"{self.name} {text!r}"
        names = [path, *module_name.split(".")]
        if not all(name.isidentifier() for name in names):
            raise PolicyError(f"{what}: expected module:object")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise PolicyError(
                f"{what}: no module named {error.name!r} (run from its folder, or install it)"
            ) from None
        except (Exception, SystemExit) as error:
            raise PolicyError(
                f"{what}: importing {module_name} failed: {type(error).__name__}: {error}"
            ) from error
        if not hasattr(module, path):
            public = [name for name in vars(module) if not name.startswith("_")]
            raise PolicyError(
                f"{what}: module {module_name} has no {path!r}{nearest(path, public)}"
            )
        return getattr(module, path)

    def _accept(self, candidate: object, label: str) -> Any:
        """Return an object of this kind as it is and wrap a function; call neither."""
        what = f"{self.name} {label}"
        if isinstance(candidate, type):
            raise PolicyError(f"{what}: is a class: name an instance of it")
        if callable(getattr(candidate, self.method.partition("(")[0], None)):
            if isinstance(getattr(candidate, "label", None), str):
                return candidate
            raise PolicyError(f"{what}: has no text attribute 'label'")
        if not callable(candidate) or not self._fits(candidate):
            count = ("one argument", "two arguments")[len(self.arguments) - 1]
            raise PolicyError(
                f"{what}: {candidate!r:.60} is neither a {self.name} ({self.method}) nor a "
                f"function of {count}, the {' and the '.join(self.arguments)}"
            )
        return self.wrap(candidate, label)

    def _fits(self, function: Callable[..., object]) -> bool:
        """Whether the function can be called with these arguments, by position."""
        try:
            inspect.signature(function).bind(*self.arguments)
        except (TypeError, ValueError):
            return False
        return True
