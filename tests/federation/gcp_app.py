"""A program with google-auth as it is: it finds its credentials by the environment alone (application default credentials).
`time_machine` moves its clock, as the machine's would go on."""

import datetime
import hashlib
import json
import sys

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import time_machine

moved = datetime.timedelta()
request = google.auth.transport.requests.Request()
credentials, project = google.auth.default(scopes=[
    "https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"])
for line in sys.stdin:
    moved += datetime.timedelta(seconds=float(line))
    with time_machine.travel(datetime.datetime.now(datetime.timezone.utc) + moved):
        try:
            # What every client of a Google API does before each request.
            headers = {}
            credentials.before_request(request, "GET", "https://storage.googleapis.com/storage/v1/b", headers)
            token = headers["authorization"].removeprefix("Bearer ")
            said = {"token": token, "id": hashlib.sha256(token.encode()).hexdigest(), "project": project,
                    "account": getattr(credentials, "service_account_email", None)}
        except google.auth.exceptions.GoogleAuthError as refused:
            said = {"failed": str(refused)}
    print(json.dumps(said), flush=True)
