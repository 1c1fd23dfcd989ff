"""A program with boto3 as it is: it finds its credentials by the environment alone. `time_machine` moves its clock, as the machine's would
go on."""

import datetime
import json
import sys

import boto3
import botocore.exceptions
import time_machine

moved = datetime.timedelta()
session = boto3.Session()
sts = session.client("sts")
for line in sys.stdin:
    moved += datetime.timedelta(seconds=float(line))
    with time_machine.travel(datetime.datetime.now(datetime.timezone.utc) + moved):
        try:
            said = sts.get_caller_identity()
            said = {"arn": said["Arn"], "account": said["Account"], "user": said["UserId"], "key": session.get_credentials().access_key}
        except botocore.exceptions.ClientError as refused:
            said = {"code": refused.response["Error"]["Code"]}
        except botocore.exceptions.BotoCoreError as failed:
            said = {"failed": repr(failed)}
    print(json.dumps(said), flush=True)
