"""Runs beside botocore: unmodified boto3 clients in the hand of a test. One JSON line is a call, one its answer.

A call names service, settings of the client, operation and input; `document`, where given, replaces the JSON body
that the client made, just before it signs it: clients cannot write some of what a server must refuse. With the door
"pipe" a signed request goes to the test as a line, and the answer comes back as one: no socket is opened.
"""

import base64
import io
import json
import sys
from datetime import datetime

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.eventstream import EventStream
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

CLIENTS = {}
DOCUMENT = []


def main():
    """Obey each line."""
    for line in sys.stdin:
        asked = json.loads(line, object_hook=read_special)
        tell(called(asked))


def called(asked):
    """Return what a call is answered with."""
    DOCUMENT[:] = [asked["document"]] if asked.get("document") is not None else []
    try:
        client = client_of(asked)
        names = {operation: method for method, operation in client.meta.method_to_api_mapping.items()}
        answer = getattr(client, names.get(asked["name"], asked["name"]))(**asked["given"])
        return {"answer": {name: whole(value) for name, value in answer.items()}}
    except ClientError as error:
        return {"error": error.response, "class": type(error).__name__}
    except Exception as error:  # whatever a client does with what it cannot send
        return {"error": {"Error": {"Code": type(error).__name__, "Message": str(error)}}, "class": "client"}


def client_of(asked):
    """Return the client of a service with these settings; it is made once."""
    key = json.dumps([asked["service"], asked["settings"]], sort_keys=True)
    if key not in CLIENTS:
        settings = dict(asked["settings"])
        door, validates = settings.pop("door", ""), settings.pop("validates", True)
        once = Config(retries={"total_max_attempts": 1}, parameter_validation=validates)
        client = CLIENTS[key] = boto3.client(asked["service"], config=once, **settings)
        client.meta.events.register("before-call", replace_body)
        if door == "pipe":
            client.meta.events.register("before-send", send)
    return CLIENTS[key]


def replace_body(params, **_):
    """Put the document that the test gave in the place of the client's own."""
    if DOCUMENT:
        params["body"] = DOCUMENT[0].encode()


class Raw(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self, **_):
        """Yield it."""
        yield self.read()


def send(request, **_):
    """Hand a signed request to the test; return its answer."""
    body = request.body if request.body is not None else b""
    if hasattr(body, "read"):
        body = body.read()
    tell(
        {
            "send": {
                "method": request.method,
                "url": request.url,
                "headers": {
                    name: value.decode() if isinstance(value, bytes) else str(value)
                    for name, value in request.headers.items()
                },
                "body": body.encode() if isinstance(body, str) else bytes(body),
            }
        }
    )
    told = json.loads(sys.stdin.readline(), object_hook=read_special)
    return AWSResponse(request.url, told["status"], dict(told["headers"]), Raw(told["body"]))


def whole(value):
    """Return an answer's member with its stream read to the end."""
    if isinstance(value, StreamingBody):
        return value.read()
    return None if isinstance(value, EventStream) else value


def tell(told):
    """Print one line."""
    print(json.dumps(told, default=write_special), flush=True)


def write_special(value):
    """Return bytes and times as JSON objects."""
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    return {"$time": value.isoformat()} if isinstance(value, datetime) else str(value)


def read_special(given):
    """Return the bytes or the time that a JSON object stands for."""
    if "$bytes" in given:
        return base64.b64decode(given["$bytes"])
    return datetime.fromisoformat(given["$time"]) if "$time" in given else given


if __name__ == "__main__":
    main()
