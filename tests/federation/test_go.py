"""The clouds' libraries for Go, unmodified and with documented settings alone, log in from the file of a projected token, and read what
a refusal says (go/main.go)."""

import json
import os
import subprocess

import jwt
import pytest
from federation import ISSUER, SUBJECT, Federation

PROGRAM = os.environ["TOKENSMITH_GO"] + "/clouds"
ROLE = "arn:aws:iam::123456789012:role/caller"
PROVIDER = "projects/123456789012/locations/global/workloadIdentityPools/laptop/providers/cluster"
EMAIL = "app@shop.iam.gserviceaccount.com"
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
AUDIENCES = {"aws": "sts.amazonaws.com", "google": f"https://iam.googleapis.com/{PROVIDER}", "azure": "api://AzureADTokenExchange"}
AUDIENCES |= {"oauth2": AUDIENCES["google"], "adal": AUDIENCES["azure"]}


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    name = ISSUER.removeprefix("https://")
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{name}"}, "Condition": {"StringEquals": {f"{name}:sub": SUBJECT}}}]}
    binding = {"role": "roles/iam.workloadIdentityUser",
               "members": [f"principal://iam.googleapis.com/{PROVIDER.rpartition('/providers/')[0]}/subject/{SUBJECT}"]}
    config = {
        "issuers": [{"issuer": ISSUER, "documents": "self"}],
        "aws": {"oidcProviders": [{"account": "123456789012", "url": ISSUER, "clientIdList": [AUDIENCES["aws"]]}],
                "roles": [{"arn": ROLE, "assumeRolePolicyDocument": policy}]},
        "gcp": {"providers": [{"name": PROVIDER, "attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": ISSUER}}],
                "serviceAccounts": [{"email": EMAIL, "policy": {"bindings": [binding]}}]},
        "azure": {"tenants": [{"tenantId": TENANT, "applications": [{"appId": CLIENT, "federatedIdentityCredentials": [
            {"name": "cluster", "issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCES["azure"]]}]}]}]},
    }
    started = Federation(tmp_path_factory.mktemp("go"), "aws,gcp,azure", config)
    yield started
    started.stop()


def login(clouds, home, library: str, token_file, **more) -> dict:
    """What comes of a login. The environment is what the cloud's documentation asks for; the CA is AWS's variable, and Go's own."""
    credentials = home / "credentials.json"
    credentials.write_text(json.dumps({
        "type": "external_account", "universe_domain": "googleapis.com", "audience": f"//iam.googleapis.com/{PROVIDER}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{clouds.sts}/v1/token",
        "service_account_impersonation_url": f"{clouds.sts}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken",
        "credential_source": {"file": str(token_file)}}))
    google = {"GOOGLE_APPLICATION_CREDENTIALS": str(credentials), "SSL_CERT_FILE": str(clouds.ca)}
    azure = {"AZURE_AUTHORITY_HOST": clouds.sts, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT,
             "AZURE_FEDERATED_TOKEN_FILE": str(token_file), "SSL_CERT_FILE": str(clouds.ca)}
    env = {
        "aws": {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file), "AWS_ROLE_SESSION_NAME": "app",
                "AWS_ENDPOINT_URL_STS": clouds.sts, "AWS_CA_BUNDLE": str(clouds.ca), "AWS_REGION": "eu-central-1"},
        "google": google, "oauth2": google, "azure": azure, "adal": azure,
    }[library]
    done = subprocess.run([PROGRAM, library], env={"PATH": os.environ["PATH"], "HOME": str(home), **env, **more}, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("library", AUDIENCES)
def test_a_login_with_the_environment_alone(clouds, tmp_path, library):
    said = login(clouds, tmp_path, library, clouds.project(tmp_path / "root", AUDIENCES[library], library))
    if library == "aws":
        assert said == {"identity": "arn:aws:sts::123456789012:assumed-role/caller/app"}
    elif library in ("azure", "adal"):
        claims = jwt.decode(said["token"], options={"verify_signature": False})
        party = claims["azp" if library == "azure" else "appid"]
        assert (party, claims["aud"], claims["tid"]) == (CLIENT, "https://vault.azure.net", TENANT)
    else:
        assert said["token"].startswith("tokensmith-sts."), said


@pytest.mark.parametrize("library, code, status, words", [
    ("aws", "InvalidIdentityToken", 400, "Incorrect token audience"),
    ("google", None, None, "status code 400: {\"error\":\"invalid_grant\""),
    ("oauth2", None, None, "status code 400: {\"error\":\"invalid_grant\""),
    ("azure", "invalid_client", 401, "AADSTS700212: "),
    ("adal", None, None, "AADSTS700212: "),
])
def test_a_refusal_is_one_that_the_library_reads_and_the_log_says_why(clouds, tmp_path, library, code, status, words):
    said = login(clouds, tmp_path, library, clouds.project(tmp_path / "root", "elsewhere"))
    assert (said.get("code"), said.get("status")) == (code, status) and words in said["message"], said
    [*_, line] = [line for line in (clouds.home / "log").read_text().splitlines() if "a request is refused" in line]
    reason = 'it is for "elsewhere", and the client ids' if library == "aws" else 'aud is ["elsewhere"], and '
    assert reason in line and SUBJECT in line, line


@pytest.mark.parametrize("library, code, status, words", [
    ("aws", "RequestEntityTooLargeException", 413, "too large"),
    ("google", None, None, 'status code 400: {"error":{"code":400,"message":"Request payload size exceeds the limit: 131072 bytes."'),
    ("oauth2", None, None, 'status code 400: {"error":{"code":400,"message":"Request payload size exceeds the limit: 131072 bytes."'),
    ("azure", "invalid_request", 413, "AADSTS90013: The request is too long."),
])
def test_what_is_too_long_is_told_as_the_cloud_tells_errors(clouds, tmp_path, library, code, status, words):
    token = tmp_path / "token"
    token.write_text("x" * 200_000)
    said = login(clouds, tmp_path, library, token)
    assert (said.get("code"), said.get("status")) == (code, status) and words in said["message"], said
