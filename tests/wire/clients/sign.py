"""Runs beside botocore: print random requests, signed by it, one JSON list a line.

    python sign.py COUNT KEY_ID SECRET

Percent-encoded ARNs, dot segments and doubled slashes in paths, empty, bare and repeated query keys, runs of spaces in
headers, bodies of every byte, every service, several regions.
"""

import base64
import json
import random
import sys
from urllib.parse import quote

SERVICES = ("private-networks", "lookoutmetrics", "sagemaker", "firehose")
REGIONS = ("eu-north-1", "us-east-1", "local")
HOST = "127.0.0.1:8401"


def main() -> None:
    # Here, since botocore is in this environment alone.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    count, key_id, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    rng = random.Random(8401)

    def word() -> str:
        return "".join(
            rng.choice("abcXYZ019-_.~%:/ \u00e9\u4e2d+=&\"'<>;,@!*()$") for _ in range(rng.randint(1, 12))
        )

    def segment() -> str:
        return rng.choice([quote(word(), safe=""), ".", "..", "", "tags", "v1"])

    def pair() -> str:
        value = rng.choice(["", "=", "=" + quote(word(), safe="-_.~")])
        return quote(rng.choice(["k", "a", "tagKeys"]), safe="") + value

    for _ in range(count):
        path = "/" + "/".join(segment() for _ in range(rng.randint(0, 4)))
        query = "&".join(pair() for _ in range(rng.randint(0, 4)))
        headers = {
            "Content-Type": "application/json",
            "X-Amz-Target": "T.Op",
            "X-Amzn-SageMaker-Custom-Attributes": "  a   b ",
            "Accept": "*/*",
            "X-Amz-Api-Version": "1",
        }
        headers = {name: value for name, value in headers.items() if rng.random() < 0.6}
        request = AWSRequest(
            method=rng.choice(["GET", "POST", "PUT", "DELETE"]),
            url=f"http://{HOST}{path}" + (f"?{query}" if query else ""),
            headers=headers,
            data=rng.randbytes(rng.randint(0, 300)),
        )
        service, region = rng.choice(SERVICES), rng.choice(REGIONS)
        SigV4Auth(Credentials(key_id, secret), service, region).add_auth(request)
        sent = {name.lower(): value for name, value in request.headers.items()}
        sent |= {"host": HOST, "amz-sdk-invocation-id": "unsigned", "user-agent": "x"}
        body = base64.b64encode(request.body or b"").decode()
        print(json.dumps([service, request.method, path, query, sent, body]))


if __name__ == "__main__":
    main()
