#!/usr/bin/env python3
"""Asks weir what flagd's public test bed asks evaluators: over the flag API, and in process by `weir toggle why`.

Needs git, Python 3.9 and nothing else.

    git clone https://github.com/open-feature/flagd-testbed TESTBED
    cargo build
    tests/conformance/testbed.py TESTBED target/debug/weir

Prints each answer that differs from what the test bed expects, then the count of each feature. Exits with 1 when
one differs that is not in KNOWN.
"""

import collections
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

# flagd loads a file with these and fails at each question; weir refuses the file, and says where.
REFUSED = {"ref-to-nonexistent-evaluator-flag", "error-targeting-flag"}
# Tags of what is not asked: an earlier arithmetic, which released flagd has left.
LEFT = {"@fractional-v1"}
# Scenarios that differ on purpose, by feature and flag; README.md here says why.
KNOWN = {
    ("contextEnrichment", "flagd-context-aware"),
    ("evaluation", "null-default-flag"),
    ("evaluation", "undefined-default-flag"),
    ("evaluation", "no-default-flag-null-targeting-variant"),
    ("evaluation", "no-default-flag-undefined-targeting-variant"),
}
# Those that differ over the flag API alone: OFREP says that a targeting key is a text.
KNOWN_OVER_THE_API = {"fractional-flag-shorthand"}

EVALUATOR = "disabled errors evaluation evaluator-refs fractional metadata no-default-variant semver string targeting zero-values"
PROVIDER = "targeting contextEnrichment disabled evaluation metadata"
FLAG_FILES = "custom-ops disabled-flags edge-case-flags evaluator-refs metadata-flags testing-flags zero-flags"

# OpenFeature's words for the reasons that `weir toggle why` gives.
REASONS = {"default": "DEFAULT", "disabled": "DISABLED", "failed": "ERROR", "static": "STATIC", "targeting": "TARGETING_MATCH"}

CONFIG = """[weir]
workers = 1
state_dir = {state}
[admin]
address = "127.0.0.1:{admin}"
[ofrep]
address = "127.0.0.1:{ofrep}"
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
[services.none]
arms.stable = {{ endpoints = ["127.0.0.1:9"] }}
[[routes]]
name = "none"
match = {{ path_prefix = "/" }}
service = "none"
"""


def value(kind, text):
    """A value as a feature file writes it."""
    if kind == "String":
        return text
    if kind == "Boolean":
        return text == "true"
    if kind == "Integer":
        return int(text) if text else None
    return float(text) if kind == "Float" else json.loads(text.replace('\\"', '"'))


def scenarios(path):
    """Tags and steps of each scenario, those of the background before its own, one for each row of examples."""
    feature, pending, background, found, tables = [], [], [], [], None
    tags, steps, mode = [], [], ""
    def emit():
        rows = [(more, dict(zip(table[0], row))) for more, table in tables or [] for row in table[1:]]
        for more, row in rows or ([] if mode == "" else [([], {})]):
            filled = [re.sub(r"<([^>]+)>", lambda hole: row.get(hole[1], hole[0]), step) for step in steps]
            found.append((set(feature + tags + more), filled))
    for line in map(str.strip, path.read_text().splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            pending += line.split()
        elif line.startswith("Feature"):
            feature, pending = pending, []
        elif line.startswith("Background"):
            steps = background
        elif line.startswith("Scenario"):
            emit()
            tags, pending, steps, tables, mode = pending, [], list(background), None, "scenario"
        elif line.startswith("Examples"):
            tables = (tables or []) + [(pending, [])]
            pending = []
        elif tables and line.startswith("|"):
            tables[-1][1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif mode or steps is background:
            steps.append(line)
    emit()
    return found


def case(steps):
    """What is asked and expected; None when a step is about a provider's own life."""
    asked = {"context": {}, "expected": {}}
    for step in steps:
        if found := re.match(r'(?:Given|And) an? (\w+)-flag with key "([^"]*)" and a (?:fallback|default) value "(.*)"$', step):
            asked.update(type=found[1], key=found[2], code=value(found[1], found[3]))
        elif found := re.match(r'And a context containing a key "([^"]*)", with type "(\w+)" and with value "(.*)"$', step):
            asked["context"][found[1]] = value(found[2], found[3])
        elif found := re.match(r'And a context containing a nested property with outer key "(\w+)" and inner key "(\w+)", with value "(.*)"$', step):
            asked["context"][found[1]] = {found[2]: found[3]}
        elif found := re.match(r'And a context containing a targeting key with value "(.*)"$', step):
            asked["context"]["targetingKey"] = found[1]
        elif found := re.match(r'(?:Then|And) the resolved details value should be "(.*)"$', step):
            asked["expected"]["value"] = value(asked["type"], found[1])
        elif found := re.match(r'(?:Then|And) the reason should be "(.*)"$', step):
            asked["expected"]["reason"] = found[1]
        elif found := re.match(r'(?:Then|And) the error-code should be "(.*)"$', step):
            asked["expected"]["error"] = found[1]
        elif "resolved metadata" in step:
            asked["expected"]["metadata"] = {}
        elif step.startswith("|"):
            key, kind, text = [cell.strip() for cell in step.split("|")[1:-1]]
            if kind != "metadata_type":
                asked["expected"]["metadata"][key] = value(kind, text)
        elif not re.search(r"flag was evaluated|an evaluator|flagd provider|^Given an option", step):
            return None
    return asked if "key" in asked else None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Weir:
    """A weir on these flags, until it is left."""

    def __init__(self, binary, definition):
        self.folder, self.binary, self.definition = tempfile.TemporaryDirectory(), binary, definition

    def __enter__(self):
        folder, admin, self.port = pathlib.Path(self.folder.name), free_port(), free_port()
        state = json.dumps(str(folder / "state"))
        (folder / "weir.toml").write_text(CONFIG.format(state=state, admin=admin, ofrep=self.port))
        (folder / "set.flagd.json").write_text(json.dumps(self.definition))
        self.process = subprocess.Popen([self.binary, "run", "--log-level", "error", "--config", str(folder)])
        for _ in range(200):
            if self.process.poll() is not None:
                sys.exit("weir ended: its report is above")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz").read()
                return self
            except urllib.error.URLError:
                time.sleep(0.05)
        sys.exit("weir is not ready after 10 seconds")

    def __exit__(self, *_error):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.folder.cleanup()

    def ask(self, key, context):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/ofrep/v1/evaluate/flags/{key}")
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, json.dumps({"context": context}).encode()) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def explain(self, key, context):
        """What the evaluator gives in a process of its own, without a server."""
        command = [self.binary, "toggle", "why", key, "--config", self.folder.name, "--context", json.dumps(context)]
        told = subprocess.run(command + ["--format", "json"], capture_output=True, text=True)
        if told.returncode:
            return {"errorCode": "FLAG_NOT_FOUND" if "unknown toggle" in told.stderr else told.stderr}
        told = json.loads(told.stdout)
        if told["error"]:
            return {"errorCode": told["error"]["code"]}
        value = {} if told["variant"] is None else {"value": told["value"]}
        return value | {"reason": REASONS.get(told["reason"], told["reason"])}


def fits(kind, given):
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    kinds = {"Boolean": isinstance(given, bool), "String": isinstance(given, str), "Integer": number, "Float": number}
    return kinds.get(kind, isinstance(given, (dict, list)))


def details(asked, answer):
    """What an SDK of OpenFeature would give for the answer."""
    own = {key: given for key, given in answer.get("metadata", {}).items() if not key.startswith(("weir.", "generation"))}
    got = {"value": asked["code"], "reason": "ERROR", "error": answer.get("errorCode", ""), "metadata": own}
    if "errorCode" in answer:
        return got
    if "value" in answer and not fits(asked["type"], answer["value"]):
        return got | {"error": "TYPE_MISMATCH"}
    return got | {"value": answer.get("value", asked["code"]), "reason": answer["reason"]}


def wrong(asked, got):
    """What differs: all of the expected metadata has to be there, and none where none is expected."""
    expected, metadata = dict(asked["expected"]), asked["expected"].get("metadata")
    expected.pop("metadata", None)
    differs = [name for name, wanted in expected.items() if got[name] != wanted]
    if metadata is not None and (got["metadata"] != {} if metadata == {} else not metadata.items() <= got["metadata"].items()):
        differs.append("metadata")
    return differs


def is_known(feature, key, surface):
    return (feature, key) in KNOWN or surface == "over the flag API" and key in KNOWN_OVER_THE_API


def definitions(testbed):
    """The flags of each group of features: for evaluators, for providers, and of one set with metadata of its own.

    Last are flags that another group is asked for.
    """
    read = lambda path: json.loads((testbed / path).read_text())
    provider = {"flags": {}, "$evaluators": {}}
    for name in FLAG_FILES.split():
        part = read(f"flags/{name}.json")
        provider["flags"] |= part["flags"]
        provider["$evaluators"] |= part.get("$evaluators", {})
    combined = read("flags/selector-flag-combined-metadata.json")
    evaluator = read("evaluator/flags/testkit-flags.json")
    others = set(combined["flags"]) - set(provider["flags"])
    yield "evaluator/gherkin", EVALUATOR.split(), evaluator, set()
    yield "gherkin", PROVIDER.split(), provider, others
    yield "gherkin", ["metadata"], combined, set(provider["flags"])


def main(testbed, binary):
    tally, unknown = collections.Counter(), 0
    for folder, features, definition, others in definitions(testbed):
        for bucketing in ("flagd-v2", "flagd-v3"):
            flags = {key: flag for key, flag in definition["flags"].items() if key not in REFUSED}
            for flag in flags.values():
                if bucketing == "flagd-v3":
                    flag.setdefault("metadata", {})["weir.bucketing"] = bucketing
            with Weir(binary, definition | {"flags": flags}) as weir:
                for feature in features:
                    for tags, steps in scenarios(testbed / folder / f"{feature}.feature"):
                        if ("@fractional-v3" in tags) != (bucketing == "flagd-v3"):
                            continue
                        name, asked = f"{folder}/{feature}", case(steps)
                        if asked and asked["key"] in others:
                            continue
                        if asked is None or tags & LEFT:
                            tally[name, "not asked"] += 1
                        elif asked["key"] in REFUSED:
                            tally[name, "refused at load"] += 1
                        else:
                            for surface, question in (("over the flag API", weir.ask), ("in process", weir.explain)):
                                answer = question(asked["key"], asked["context"])
                                differs = wrong(asked, details(asked, answer))
                                if surface == "in process":
                                    # What goes with an answer is no part of how it came to be.
                                    differs = [what for what in differs if what != "metadata"]
                                tally[name, ("differs " if differs else "as expected ") + surface] += 1
                                if differs:
                                    unknown += not is_known(feature, asked["key"], surface)
                                    print("differs", surface + ":", name, ", ".join(differs), json.dumps(asked), "got", json.dumps(answer))
    for (name, outcome), count in sorted(tally.items()):
        print(f"{count:5}  {outcome:29}  {name}")
    for outcome in sorted({outcome for _, outcome in tally}):
        print(f"{sum(count for (_, other), count in tally.items() if other == outcome):5}  {outcome}")
    return 1 if unknown else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
