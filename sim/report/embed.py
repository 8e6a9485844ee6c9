"""Charts as text for a page: the library's script, and the figures with the same ids every time."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.document import Document


def library() -> str:
    """Return BokehJS, the part that draws, to stand inside a script element."""
    from bokeh.resources import Resources

    script = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    return script.replace("</script", "<\\/script")


def packed(data: Any) -> str:
    """Return JSON's text of data, deflated, as letters: a third of its size, and safe in a page."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return base64.b64encode(zlib.compress(text.encode(), 6)).decode("ascii")


def embedded(document: Document) -> dict[str, Any]:
    """Return what the page hands to BokehJS: the figures, and the element that each goes into.

    An element is called "chart-" and the name of its figure.
    """
    roots = {root.id: f"chart-{root.name}" for root in document.roots}
    made: dict[str, Any] = dict(document.to_json(deferred=False))
    names: dict[str, str] = {}
    _name(made, names)
    return {
        "doc": _renamed(made, names),
        "roots": [names[root] for root in roots],
        "elements": list(roots.values()),
        "places": {names[root]: element for root, element in roots.items()},
    }


def _name(value: Any, names: dict[str, str]) -> None:
    """Give every id a name that counts from 1: Bokeh's go on through the whole process."""
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            names.setdefault(value["id"], f"m{len(names) + 1}")
        for item in value.values():
            _name(item, names)
    elif isinstance(value, list | tuple):
        for item in value:
            _name(item, names)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
