"""A check as JUnit's XML: a test suite for each scenario, a test case for each guard."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from sim.check.wording import told

if TYPE_CHECKING:
    from sim.check.report import Finding, Report

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """Return the document.

    A regression is a failure; a run that failed, a guard that could not be decided and one that was
    not reached are errors; what was left out is skipped.
    """
    root = ElementTree.Element("testsuites", name=_text(f"saber check {report.suite}"))
    for scenario, group in groupby(report.findings, key=lambda f: f.guard.scenario):
        findings = list(group)
        suite = ElementTree.SubElement(root, "testsuite", name=_text(scenario))
        tags = [_case(suite, finding, report) for finding in findings]
        _count(suite, tags)
    _count(root, [_tag(finding) for finding in report.findings])
    root.set("time", f"{report.wall_s:.3f}")
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(suite: ElementTree.Element, finding: Finding, report: Report) -> str:
    guard = finding.guard
    name, classname = _text(guard.name), _text(f"{report.suite.stem}.{guard.scenario}")
    case = ElementTree.SubElement(suite, "testcase", name=name, classname=classname, time="0")
    tag = _tag(finding)
    sentence = _text(told(finding, report.reference))
    if tag:
        element = ElementTree.SubElement(case, tag, message=sentence)
        if tag != "skipped":
            element.set("type", _type(finding))
            element.text = sentence
    else:
        ElementTree.SubElement(case, "system-out").text = sentence
    return tag


def _tag(finding: Finding) -> str:
    if finding.broken:
        return "error"
    return {"pass": "", "fail": "failure", "skipped": "skipped"}.get(finding.state, "error")


def _type(finding: Finding) -> str:
    if finding.broken:
        return "run failed"
    return "regression" if finding.state == "fail" else finding.state


def _count(element: ElementTree.Element, tags: list[str]) -> None:
    element.set("tests", str(len(tags)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(tags.count(tag)))


def _text(text: str) -> str:
    """Return a text without characters that XML cannot hold."""
    return _NOT_XML.sub("?", text)
