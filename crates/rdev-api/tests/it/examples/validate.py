"""Checks every example of an OpenAPI document against the schema that it is an example of, and every event of the streams that it shows.

Usage: validate.py DOCUMENT. Prints how many examples it has checked.
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

document = json.loads(Path(sys.argv[1]).read_text())
components = document["components"]
wrong = []
checked = {"requests": 0, "answers": 0, "failures": 0, "events": 0}


def check(kind, where, schema, value):
    """Counts an example, and notes what is wrong with it."""
    checked[kind] += 1
    # References of the schema are looked up from its root.
    validator = Draft202012Validator({**schema, "components": components})
    wrong.extend(f"{where}: {error.json_path}: {error.message}" for error in validator.iter_errors(value))


def examples(media):
    """Yields the examples of a media type, those under their names as well."""
    if "example" in media:
        yield media["example"]
    for example in media.get("examples", {}).values():
        if "$ref" in example:
            example = components["examples"][example["$ref"].removeprefix("#/components/examples/")]
        yield example["value"]


def events(stream):
    """Yields the events of a stream, each as one object."""
    for block in stream.split("\n\n"):
        lines = [line.split(": ", 1) for line in block.splitlines()]
        event = {name: value for name, value in lines if name != "retry"}
        if event:
            yield event | {"data": json.loads(event["data"])}


for path, methods in document["paths"].items():
    for method, operation in methods.items():
        where = f"{method} {path}"
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for example in examples(media):
                check("requests", where, media["schema"], example)
        for status, response in operation["responses"].items():
            for kind, media in response.get("content", {}).items():
                for example in examples(media):
                    if kind == "text/event-stream":
                        for event in events(example):
                            item = {"$ref": "#/components/schemas/StreamItem"}
                            check("events", f"{where} {status}", item, event)
                            check("events", f"{where} {status}", media["schema"], event["data"])
                    elif kind == "application/x-ndjson":
                        for line in example.splitlines():
                            check("events", f"{where} {status}", media["schema"], json.loads(line))
                    elif kind == "application/json":
                        failed = media["schema"].get("$ref", "").endswith("/ErrorBody")
                        check("failures" if failed else "answers", f"{where} {status}", media["schema"], example)

print(json.dumps(checked))
sys.exit("\n".join(wrong) or 0)
