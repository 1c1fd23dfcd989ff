"""google-auth, unmodified and with a credential file alone, logs in by workload identity federation; and each rule that is broken gives
the error that Google gives (their sources stand in docs/federation.md)."""

import datetime
import json
import pathlib
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import google.auth.exceptions
import google.auth.transport.requests
import pytest
from conftest import BINARY
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from federation import ELSEWHERE, ISSUER, SUBJECT, App, Elsewhere, Federation
from google.auth import identity_pool

POOL = "projects/123456789012/locations/global/workloadIdentityPools/laptop"
AUDIENCE = f"//iam.googleapis.com/{POOL}/providers/cluster"
# What the guide's volume has as its audience.
TOKEN_AUDIENCE = f"https:{AUDIENCE}"
EMAIL = "app@shop.iam.gserviceaccount.com"
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
STALE = "is stale to sign-in."


def provider(name: str, issuer: str, condition=None, mapping=None, **oidc) -> dict:
    described = {"name": f"{POOL}/providers/{name}", "attributeMapping": {"google.subject": "assertion.sub", **(mapping or {})},
                 "oidc": {"issuerUri": issuer, **oidc}}
    return {**described, "attributeCondition": condition} if condition else described


@pytest.fixture(scope="module")
def elsewhere():
    started = Elsewhere()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def gcp(tmp_path_factory, elsewhere):
    plain = elsewhere.publish("plain", elsewhere.jwk())
    away = {"issuer": f"{ELSEWHERE}/away", "documents": f"{elsewhere.url}/away"}
    namespace = "assertion['kubernetes.io'].namespace"
    config = {"issuers": [{"issuer": ISSUER, "documents": "self"}, plain, away], "gcp": {
        "pools": [{"name": f"{POOL}-closed", "disabled": True}],
        "providers": [
            provider("cluster", ISSUER, mapping={"attribute.namespace": namespace}),
            provider("guarded", ISSUER, f"{namespace} == 'payments'", allowedAudiences=["guarded"]),
            provider("plain", plain["issuer"], allowedAudiences=["plain"]),
            provider("away", away["issuer"], allowedAudiences=["plain"]),
            provider("uploaded", f"{ELSEWHERE}/nowhere", allowedAudiences=["plain"], jwksJson=json.dumps({"keys": [elsewhere.jwk(alg="RS256")]})),
            {**provider("disabled", ISSUER), "disabled": True},
            {**provider("cluster", ISSUER), "name": f"{POOL}-closed/providers/cluster"},
        ],
        "serviceAccounts": [
            {"email": EMAIL, "policy": {"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": [
                f"principalSet://iam.googleapis.com/{POOL}/attribute.namespace/default"]}]}},
            {"email": "other@shop.iam.gserviceaccount.com"},
        ]}}
    started = Federation(tmp_path_factory.mktemp("gcp"), "gcp", config)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def trusting(gcp, monkeypatch):
    """The CA as documented for requests; it goes before a session's own."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(gcp.ca))


@pytest.fixture
def root(tmp_path):
    """Where volumes are; their mounts would stay."""
    yield tmp_path / "root"
    subprocess.run([BINARY, "project", "remove", f"--root={tmp_path}/root"], check=True, capture_output=True, timeout=60)


def described(gcp, token_file, audience=AUDIENCE, account=EMAIL) -> dict:
    """A credential file, as `gcloud iam workload-identity-pools create-cred-config` writes it, with this machine's endpoints."""
    file = {"universe_domain": "googleapis.com", "type": "external_account", "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{gcp.sts}/v1/token",
            "credential_source": {"file": str(token_file), "format": {"type": "text"}}}
    if account:
        file["service_account_impersonation_url"] = f"{gcp.sts}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    return file


def get(gcp, path: str):
    with urllib.request.urlopen(gcp.sts + path, context=ssl.create_default_context(cafile=gcp.ca), timeout=60) as reply:
        return json.load(reply)


def post(gcp, path: str, body: bytes, media: str, **headers):
    request = urllib.request.Request(gcp.sts + path, body, {"Content-Type": media, **headers})
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=gcp.ca), timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


def login(gcp, tmp_path, token: str, provider="plain", account=None, pool=POOL):
    """google-auth logs in with a token from a file; gives its access token."""
    file = tmp_path / "token"
    file.write_text(token)
    info = described(gcp, file, f"//iam.googleapis.com/{pool}/providers/{provider}", account)
    credentials = identity_pool.Credentials.from_info(info, scopes=[CLOUD])
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def refused(*args, **more) -> dict:
    with pytest.raises(google.auth.exceptions.GoogleAuthError) as error:
        login(*args, **more)
    return json.loads(error.value.args[1])


def test_google_auth_logs_in_with_a_credential_file_alone_and_refreshes(gcp, tmp_path, root):
    token = gcp.project(root, TOKEN_AUDIENCE)
    (tmp_path / "credentials.json").write_text(json.dumps(described(gcp, token)))
    app = App(pathlib.Path(__file__).parent / "gcp_app.py", tmp_path, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "credentials.json"),
              GOOGLE_CLOUD_PROJECT="shop", REQUESTS_CA_BUNDLE=str(gcp.ca))
    first = app.after()
    assert (first.get("account"), first.get("project")) == (EMAIL, "shop"), first
    info = get(gcp, "/tokeninfo?" + urllib.parse.urlencode({"access_token": first["token"]}))
    assert (info["email"], info["expires_in"]) == (EMAIL, "3600"), info
    before = gcp.answered("gcp", 200)

    def later(**span):
        gcp.advance(**span)
        return app.after(**span)

    assert later(minutes=50)["id"] == first["id"], "an hour's token is good"
    assert gcp.answered("gcp", 200) == before
    # The projected token of the beginning would soon be over: it is written anew, as it would be by now.
    gcp.project(root, TOKEN_AUDIENCE)
    second = later(minutes=10)
    assert second["id"] != first["id"] and second["account"] == EMAIL
    assert gcp.answered("gcp", 200) == before + 2, "one exchange and one token of the account"
    # Nobody writes the file anew: its token is over, a minute of tolerance included.
    assert STALE in later(minutes=61)["failed"]
    app.stop()


def test_without_an_account_the_federated_token_is_the_credential(gcp, tmp_path):
    token = login(gcp, tmp_path, gcp.token(TOKEN_AUDIENCE), "cluster")
    status, told = post(gcp, "/v1/introspect", urllib.parse.urlencode({"token": token}).encode(), "application/x-www-form-urlencoded")
    assert status == 200 and told["active"] and told["scope"] == CLOUD
    assert told["username"] == f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"


def test_each_broken_rule_gives_googles_error(gcp, elsewhere, tmp_path):
    now, hour = gcp.now(), datetime.timedelta(hours=1)
    at = int(now.timestamp())

    def sign(**claims):
        return elsewhere.sign("plain", **{"now": now, "aud": "plain", **claims})

    def said(error, description):
        return {"error": error, "error_description": description}

    assert login(gcp, tmp_path, sign())
    assert login(gcp, tmp_path, elsewhere.sign("nowhere", now, aud="plain"), "uploaded"), "nobody is asked for its keys"
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer = f"The issuer in ID Token {{}} does not match the expected one in config: {ELSEWHERE}/plain."
    audience = "The audience in ID Token [{}] does not match the expected audience."
    target = ('The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is '
              "disabled or deleted or because it doesn't exist.")
    connecting = "Error connecting to the given credential's issuer."
    cases = [
        ("no iss", sign(iss=None), "plain", said("invalid_grant", issuer.format("null"))),
        ("another iss", elsewhere.sign("away", now, aud="plain"), "plain", said("invalid_grant", issuer.format(f"{ELSEWHERE}/away"))),
        ("no aud", sign(aud=None), "plain", said("invalid_grant", audience.format(""))),
        ("another aud", sign(aud="other"), "plain", said("invalid_grant", audience.format("other"))),
        ("no iat", sign(iat=None), "plain", said("invalid_grant", f"ID Token issued at null {STALE}")),
        ("no exp", sign(exp=None), "plain", said("invalid_grant", f"ID Token issued at {at} {STALE}")),
        ("over", sign(now=now - 2 * hour), "plain", said("invalid_grant", f"ID Token issued at {at - 7200} {STALE}")),
        ("of the future", sign(now=now + hour), "plain", said("invalid_grant", f"ID Token issued at {at + 3600} {STALE}")),
        ("for too long", sign(exp=at + 172_800), "plain", said("invalid_grant", f"ID Token issued at {at} {STALE}")),
        ("no sub", sign(sub=None), "plain", said("unauthorized_client", "Could not obtain a value for google.subject from the given credential.")),
        ("long sub", sign(sub="x" * 128), "plain", said("invalid_request",
            "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming "
            "assertion to produce a mapped attribute that is less than 127 bytes.")),
        ("another namespace", gcp.token("guarded"), "guarded", said("unauthorized_client",
            "The given credential is rejected by the attribute condition.")),
        ("another key", sign(key=foreign), "plain", said("invalid_grant", "Unable to verify the ID Token signature.")),
        ("an unknown kid", sign(header={"kid": "other"}), "plain", said("invalid_grant", connecting)),
        ("no documents", elsewhere.sign("away", now, aud="plain"), "away", said("invalid_grant", connecting)),
        ("RS384", sign(algorithm="RS384"), "plain", said("invalid_grant", "The ID Token must be signed with RS256 or ES256.")),
        ("ES384", sign(key=ec.generate_private_key(ec.SECP384R1()), algorithm="ES384"), "plain",
            said("invalid_grant", "The ID Token must be signed with RS256 or ES256.")),
        ("no token", "not-a-token", "plain", said("invalid_grant", "Unable to parse the ID Token.")),
        ("no provider", sign(), "missing", said("invalid_target", target)),
        ("a disabled provider", sign(), "disabled", said("invalid_target", target)),
    ]
    for what, token, name, expected in cases:
        assert refused(gcp, tmp_path, token, name) == expected, what
    assert refused(gcp, tmp_path, sign(), "cluster", pool=f"{POOL}-closed") == said("invalid_target", target)
    account = refused(gcp, tmp_path, gcp.token(TOKEN_AUDIENCE), "cluster", account="other@shop.iam.gserviceaccount.com")["error"]
    assert (account["code"], account["status"]) == (403, "PERMISSION_DENIED")
    assert account["message"] == "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."


def test_json_and_forms_are_taken_and_an_authorization_header_is_not(gcp, elsewhere):
    body = {"grantType": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": f"//iam.googleapis.com/{POOL}/providers/plain",
            "scope": CLOUD, "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "subjectTokenType": "urn:ietf:params:oauth:token-type:id_token", "subjectToken": elsewhere.sign("plain", gcp.now(), aud="plain")}
    status, answer = post(gcp, "/v1/token", json.dumps(body).encode(), "application/json")
    assert status == 200 and answer["token_type"] == "Bearer" and answer["expires_in"] == 3600, answer
    assert post(gcp, "/v1/token", json.dumps(body).encode(), "application/json", Authorization="Bearer x")[0] == 401
    twice = post(gcp, "/v1/token", b"scope=a&scope=b", "application/x-www-form-urlencoded")
    assert twice[0] == 400 and twice[1]["error"] == "invalid_request"
