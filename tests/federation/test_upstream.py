"""A rule of the exchange policy passes a token on to the clouds' services of this very server, which judge it as the clouds do: what comes
back is good for their SDKs, and is kept for its subject alone."""

import json
import signal
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import pytest
from botocore.config import Config
from federation import ISSUER, Federation

ACCOUNT = "123456789012"
POOL = "projects/123456789012/locations/global/workloadIdentityPools/laptop"
PROVIDER = f"//iam.googleapis.com/{POOL}/providers/cluster"
EMAIL = "app@shop.iam.gserviceaccount.com"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
CONFIG = {
    "issuers": [{"issuer": ISSUER, "documents": "self"}],
    "aws": {
        "oidcProviders": [{"account": ACCOUNT, "url": ISSUER, "clientIdList": ["sts.amazonaws.com"]}],
        "roles": [{"arn": f"arn:aws:iam::{ACCOUNT}:role/caller", "assumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
            "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.example.com"},
            "Condition": {"StringEquals": {"oidc.example.com:sub": "system:serviceaccount:default:caller"}}}]}}]},
    "gcp": {
        "providers": [{"name": f"{POOL}/providers/cluster", "attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": ISSUER}}],
        "serviceAccounts": [{"email": EMAIL, "policy": {"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": [
            f"principal://iam.googleapis.com/{POOL}/subject/system:serviceaccount:default:caller"]}]}}]},
}


def policy(sts: str, ca: str) -> dict:
    def rule(name: str, kind: str, **block) -> dict:
        return {"name": name, "from": {"serviceAccount": {"namespace": "default"}}, "audiences": [name], "upstream": {"kind": kind, "caFile": ca, **block}}

    role = f"arn:aws:iam::{ACCOUNT}:role/caller"
    account = {"endpoint": f"{sts}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken", "scopes": [CLOUD], "lifetimeSeconds": 900}
    return {"serviceAccounts": {"audiences": ["sts.amazonaws.com", f"https:{PROVIDER}"]}, "rules": [
        rule("aws", "aws", endpoint=f"{sts}/", roleArn=role, durationSeconds=900),
        rule("google", "gcp", endpoint=f"{sts}/v1/token", audience=PROVIDER, scopes=[CLOUD], impersonate=account)]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("upstream")
    file = home / "policy.yaml"
    file.write_text(json.dumps({"rules": []}))
    started = Federation(home, "aws,gcp", CONFIG, f"--exchange-policy-file={file}")
    file.write_text(json.dumps(policy(started.sts, str(started.ca))))
    started.process.send_signal(signal.SIGHUP)
    yield started
    started.stop()


def exchange(server: Federation, token: str, audience: str) -> dict:
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "audience": audience}
    request = urllib.request.Request(server.url + "/oauth2/token", data=urllib.parse.urlencode(form).encode())
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=server.ca), timeout=60) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as refused:
        return json.load(refused)


def first(server: Federation, token: str, audience: str) -> dict:
    """The first answer under the policy that was read anew."""
    deadline = time.monotonic() + 10
    while "access_token" not in (answer := exchange(server, token, audience)):
        assert time.monotonic() < deadline, (answer, (server.home / "log").read_text()[-3000:])
        time.sleep(0.1)
    return answer


def test_aws_credentials_open_what_the_clouds_own_would(server):
    token = server.token("sts.amazonaws.com")
    answer = first(server, token, "aws")
    assert answer["issued_token_type"] == "urn:tokensmith:params:oauth:token-type:aws-credentials" and answer["token_type"] == "N_A"
    assert answer["expires_in"] == 900, answer
    made = json.loads(answer["access_token"])
    client = boto3.client("sts", region_name="us-east-1", endpoint_url=server.sts, verify=str(server.ca), config=Config(retries={"max_attempts": 1}),
                          aws_access_key_id=made["AccessKeyId"], aws_secret_access_key=made["SecretAccessKey"], aws_session_token=made["SessionToken"])
    assert client.get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/system-serviceaccount-default-caller"
    # The next token of the account finds what the last one got; the clouds are not asked again.
    asked = server.answered("aws", 200)
    assert json.loads(exchange(server, server.token("sts.amazonaws.com"), "aws")["access_token"]) == made
    assert server.answered("aws", 200) == asked
    server.advance(minutes=11)
    anew = exchange(server, server.token("sts.amazonaws.com"), "aws")
    assert json.loads(anew["access_token"])["AccessKeyId"] != made["AccessKeyId"]


def test_another_account_is_given_nothing_of_it(server):
    first(server, server.token("sts.amazonaws.com"), "aws")
    answer = exchange(server, server.token("sts.amazonaws.com", account="default/other"), "aws")
    assert answer["error"] == "invalid_target", answer
    # Whose words the refusal has is for the log.
    assert "AccessDenied" in (server.home / "log").read_text() and "AccessDenied" not in json.dumps(answer)


def test_google_gives_a_service_accounts_token(server):
    answer = first(server, server.token(f"https:{PROVIDER}"), "google")
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 900), answer
    # For whom the token was made is the cloud's rule.
    assert exchange(server, server.token("sts.amazonaws.com"), "google")["error"] == "invalid_target"


def test_who_is_gone_is_given_nothing_that_is_kept(server):
    token = server.token("sts.amazonaws.com")
    first(server, token, "aws")
    server.kubectl("delete", "serviceaccount", "caller")
    assert exchange(server, token, "aws")["error"] == "invalid_request"
