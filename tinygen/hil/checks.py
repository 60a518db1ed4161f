"""The checks of a session, and their results as JUnit XML, which every CI reads."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.errors import TinygenError

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# What XML 1.0 has no way to write (section 2.2): a board that answers garbage would make the file unreadable.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Limits:
    """The user's limits; None for no limit.

    Attributes:
        min_accuracy: smallest fraction of correct answers, 0 to 1.
        max_latency_us: longest allowed inference, in microseconds.
    """

    min_accuracy: float | None = None
    max_latency_us: float | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            TinygenError: a limit that is no number: nothing could be checked against it, and JSON cannot hold it.
        """
        for name, value in (("--min-accuracy", self.min_accuracy), ("--max-latency-us", self.max_latency_us)):
            if value is not None and not math.isfinite(value):
                raise TinygenError(f"{value} is no limit", where=name, fix="Give a number, or leave it out.")


@dataclass(frozen=True)
class Check:
    """One check of a session.

    Attributes:
        name: "boot", "build-id", "clock", "results", "bit-exact", "stable", "accuracy", "latency", "energy";
            "finished", where it was interrupted after the results of a switch.
        status: PASSED, FAILED or SKIPPED.
        message: what was found.
        switch: of the network; None if the network has only one, or if the check concerns none.
    """

    name: str
    status: str
    message: str
    switch: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "switch": self.switch, "status": self.status, "message": self.message}


def check(name: str, good: bool, message: str, switch: str | None = None) -> Check:
    return Check(name, PASSED if good else FAILED, message, switch)


def switch_checks(part: Mapping[str, Any], limits: Limits) -> list[Check]:
    """The checks on the results of one switch (see `tinygen.hil.report`)."""
    switch, rows = part["switch"], part["rows"]
    checks = [check("results", part["completed"] == part["planned"], _results_text(part), switch)]
    if not rows:
        names = (
            "bit-exact",
            "stable",
            *(["accuracy"] if limits.min_accuracy is not None else []),
            *(["latency"] if limits.max_latency_us is not None else []),
        )
        return checks + [Check(name, SKIPPED, "there are no results", switch) for name in names]
    restless = [row["sample"] for row in rows if not row["stable"]]
    text = "every input has one result" if not restless else f"inputs {_list(restless)} gave several results"
    checks += [
        check("bit-exact", part["mismatches"] == 0, _exactness_text(part), switch),
        check("stable", not restless, text, switch),
    ]
    if limits.min_accuracy is not None and part["accuracy"] is not None:
        found = part["accuracy"]
        text = f"{found['correct']} of {found['of']} right: {found['accuracy']:.4f}, at least {limits.min_accuracy:g}"
        checks.append(check("accuracy", found["accuracy"] >= limits.min_accuracy, text, switch))
    if limits.max_latency_us is not None:
        checks.append(_latency_check(part["latency"], limits.max_latency_us, switch))
    return checks


def _results_text(part: Mapping[str, Any]) -> str:
    text = f"{part['completed']:,} of {part['planned']:,} inputs have their result"
    return f"{text}; stopped {part['stopped']}" if part["stopped"] else text


def _exactness_text(part: Mapping[str, Any]) -> str:
    if not part["mismatches"]:
        return f"{part['completed']:,} outputs are the integer semantics' own"
    text = f"{part['mismatches']:,} of {part['completed']:,} outputs differ from the integer semantics"
    where = part["first_mismatch"]
    if where is None:
        return text
    ours, theirs = where["values"]
    place = f"layer {where['layer']}" if where["layer"] else f"output {where['tensor']}"
    return f"{text}; input {where['sample']}, {place}, element {where['element']}: {theirs}, not {ours}"


def _latency_check(latency: Mapping[str, Any] | None, limit: float, switch: str | None) -> Check:
    if latency is None:
        return Check("latency", FAILED, "nothing counts cycles here", switch)
    slowest = latency["microseconds"]["max"]
    text = f"slowest of {latency['inferences']:,}: {slowest:,.1f} µs {latency['source']}, at most {limit:,g}"
    return check("latency", slowest <= limit, text, switch)


def _list(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return f"{shown}, ... ({len(numbers)})" if len(numbers) > 5 else shown


def junit_xml(report: Mapping[str, Any]) -> str:
    """A report (see `tinygen.hil.report`) as JUnit XML: one test case per check."""
    checks = report["checks"]
    counts = {status: sum(one["status"] == status for one in checks) for status in (FAILED, SKIPPED)}
    suite = ElementTree.Element(
        "testsuite",
        name=f"tinygen hil {report['model']}",
        tests=str(len(checks)),
        failures=str(counts[FAILED]),
        errors="0",
        skipped=str(counts[SKIPPED]),
        time=f"{report['seconds']:.3f}",
        timestamp=report["created"],
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(report):
        ElementTree.SubElement(properties, "property", name=name, value=value)
    for one in checks:
        name = f"{one['name']}[{one['switch']}]" if one["switch"] else one["name"]
        # The time is the session's: a check takes none of its own.
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"{report['model']}.{report['device']['name']}", name=name, time="0"
        )
        if one["status"] == FAILED:
            ElementTree.SubElement(case, "failure", message=one["message"], type=one["name"]).text = one["message"]
        elif one["status"] == SKIPPED:
            ElementTree.SubElement(case, "skipped", message=one["message"])
        else:
            ElementTree.SubElement(case, "system-out").text = one["message"]
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    for element in suites.iter():
        element.text = element.text and _NO_XML.sub("\N{REPLACEMENT CHARACTER}", element.text)
        element.attrib.update({key: _NO_XML.sub("\N{REPLACEMENT CHARACTER}", value) for key, value in element.items()})
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _properties(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Figures that a CI may plot; each name says whether the figure was measured or predicted."""
    found = [("build_id", report["build_id"]), ("board", report["board"]), ("inputs", report["inputs"]["source"])]
    for part in report["switches"]:
        prefix = f"{part['switch']}." if part["switch"] else ""
        if part["accuracy"] is not None:
            found.append((f"{prefix}accuracy", f"{part['accuracy']['accuracy']:.6f}"))
        if part["latency"] is not None:
            latency = part["latency"]
            found.append((f"{prefix}latency_us_{latency['source']}", f"{latency['microseconds']['median']:.3f}"))
        for energy in part["energy"]:
            found.append((f"{prefix}energy_uj_{energy['source']}", f"{energy['microjoules']:.3f}"))
    return found
