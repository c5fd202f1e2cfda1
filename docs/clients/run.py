#!/usr/bin/env python3
"""Runs a shell line in a project and prints its output: each line once, also when rdev restarts meanwhile.

    RDEV_API_KEY=… python3 run.py http://127.0.0.1:8080 demo 'make test'
"""
import http.client, json, os, sys, time, urllib.error, urllib.request, uuid

url, project, line = sys.argv[1:]
KEY = {"Authorization": "Bearer " + os.environ["RDEV_API_KEY"]}


def call(path, headers, body=None):
    """Asks until there is an answer: a server that restarts, and its proxy, come back."""
    data = body and json.dumps(body).encode()
    while True:
        try:  # Of an open stream a heartbeat comes every 10 s.
            return urllib.request.urlopen(urllib.request.Request(url + path, data, KEY | headers), timeout=30)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 502, 503, 504):
                sys.exit(f"{path}: {error.code} {error.read().decode()}")
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except (OSError, http.client.HTTPException):
            time.sleep(1)


def events(path):
    """Yields the events of a stream, each once, until the stream is over."""
    last = {}
    while True:
        try:
            with call(path, last) as answer:
                if answer.status == 204:
                    return
                event = {}
                for row in answer:
                    field, _, value = row.decode().rstrip("\n").partition(": ")
                    if field:
                        event[field] = value
                    elif event:  # An empty row ends an event.
                        if "id" in event:
                            last = {"Last-Event-ID": event["id"]}
                        if "data" in event:
                            yield event["event"], json.loads(event["data"])
                        event = {}
        except (OSError, http.client.HTTPException):
            pass


# Asked again with the same key, the command still runs once.
accepted = call(f"/projects/{project}/shell", {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())},
                {"command": line})
for name, data in events(json.load(accepted)["data"]["stream_url"]):
    if name in ("output", "error"):
        end = "" if data.get("partial") else "\n"
        print(data["line"], end=end, file=sys.stderr if data["stream"] == "stderr" else sys.stdout, flush=True)
    elif name == "gap":
        print(f"output is missing: {data['reason']}", file=sys.stderr)
    elif name == "complete":
        sys.exit(1 if data["exit_code"] is None else data["exit_code"])
