#!/usr/bin/env python3
# timeout: 60
"""What `run --json` writes is what docs/run.schema.json and docs/recording-schema.md say."""
import json
import os
import pathlib
import subprocess
import sys

import lib_http

SOURCE = pathlib.Path(os.environ.get("TIDEWIRE_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
TIDEWIRE = os.environ.get("TIDEWIRE", str(SOURCE / "build" / "release" / "tidewire"))
BODY = 300_000  # bytes
TYPES = {"integer": int, "string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def validate(value, schema, root, where):
    """The part of JSON Schema that docs/run.schema.json uses; yields what does not hold."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, TYPES[k]) and (k == "boolean" or not isinstance(value, bool))
               for k in kinds):
        yield f"{where}: {value!r} is no {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value)
        for name, member in value.items():
            inner = known.get(name, schema.get("additionalProperties"))
            if inner is None:
                yield f"{where}.{name} is not documented"
            else:
                yield from validate(member, inner, root, f"{where}.{name}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from validate(item, schema["items"], root, f"{where}[{i}]")


def run(port, file):
    """The JSON of a lossy fetch as a user without privileges."""
    program = ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"]
    command = [TIDEWIRE, "run", "--net", "delay=2ms loss=5%", "--seed", "7", "--quiet", "--json", file, "--",
               *program]
    if os.getuid() == 0:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                   *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
    assert done.stderr == "", f"--quiet printed: {done.stderr}"
    report = json.loads(pathlib.Path(file).read_text())
    assert report["command"] == program, report["command"]
    return report


def main():
    schema = json.loads((SOURCE / "docs" / "run.schema.json").read_text())
    described = (SOURCE / "docs" / "recording-schema.md").read_text()
    port = lib_http.serve(bytes(BODY))
    file = os.path.join(os.environ.get("TMPDIR", "/tmp"), "run.json")
    report = run(port, file)
    problems = list(validate(report, schema, schema, "$"))
    problems += [f"docs/recording-schema.md does not mention {name}" for name in schema["properties"]
                 if f"`{name}`" not in described]
    assert not problems, "\n".join(problems)
    assert report["seed"] == 7 and report["exit_status"] == 0
    flows = [f for f in report["flows"] if f["protocol"] == "tcp"]
    assert len(flows) == 1, flows
    assert flows[0]["received"]["bytes"] >= BODY, flows[0]
    assert flows[0]["established"] and flows[0]["opened_by"] == "host"
    assert report["link"]["down"]["dropped"] > 0, "5 % of some 200 packets and none was dropped"

    def hits(r):
        return {(e["flow"], e["packet"]) for e in r["link"]["down"]["events"] if e["packet"] <= 200}
    again = run(port, file)
    common = min(report["link"]["down"]["packets"], again["link"]["down"]["packets"], 200)
    first = {h for h in hits(report) if h[1] <= common}
    second = {h for h in hits(again) if h[1] <= common}
    assert first == second, f"the same seed hit {sorted(first ^ second)} in one run only"
    print(f"{len(first)} packets were hit in both runs")


if __name__ == "__main__":
    sys.exit(main())
