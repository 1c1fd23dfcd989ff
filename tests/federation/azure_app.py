"""A program with azure-identity as it is: it finds its credentials by the environment alone (Microsoft Entra Workload ID).
`time_machine` moves its clock, as the machine's would go on."""

import datetime
import json
import os
import sys

import azure.core.exceptions
import time_machine
from azure.identity import DefaultAzureCredential, WorkloadIdentityCredential

moved = datetime.timedelta()
credential = DefaultAzureCredential() if os.environ["HOW"] == "default" else WorkloadIdentityCredential()
for line in sys.stdin:
    moved += datetime.timedelta(seconds=float(line))
    with time_machine.travel(datetime.datetime.now(datetime.timezone.utc) + moved):
        try:
            token = credential.get_token("https://vault.azure.net/.default")
            said = {"token": token.token, "expires_on": token.expires_on}
        except azure.core.exceptions.ClientAuthenticationError as refused:
            said = {"failed": refused.message}
    print(json.dumps(said), flush=True)
