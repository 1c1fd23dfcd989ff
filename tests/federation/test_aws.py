"""boto3, unmodified and with documented settings alone, logs in at our AssumeRoleWithWebIdentity; and each rule that is broken gives the
code that AWS gives (their sources stand in crates/federation/src/aws)."""

import datetime
import json
import pathlib
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
import time_machine
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import BINARY
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from federation import ELSEWHERE, ISSUER, SUBJECT, App, Elsewhere, Federation

ACCOUNT = "123456789012"
AUDIENCE = "sts.amazonaws.com"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/caller"


def provider(url: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:oidc-provider/{url.removeprefix('https://')}"


def statement(url: str, effect="Allow", action="sts:AssumeRoleWithWebIdentity", **conditions) -> dict:
    name = url.removeprefix("https://")
    block = {operator.replace("__", ":"): {f"{name}:{key}": value for key, value in keys.items()} for operator, keys in conditions.items()}
    return {"Effect": effect, "Principal": {"Federated": provider(url)}, "Action": action, "Condition": block}


def role(name: str, *statements: dict, **more) -> dict:
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    return {"arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "assumeRolePolicyDocument": policy, **more}


def keys_of(elsewhere: Elsewhere) -> dict:
    """What issuers publish, by name: AWS's rules for keys."""
    jwk = elsewhere.jwk
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unused = Elsewhere.jwk(type("Other", (), {"key": other})())
    many = [jwk(kid=f"key-{at}") for at in range(101)]
    return {
        "plain": [jwk()],
        "key-ops": [jwk(key_ops=["verify"])],
        "enc": [jwk(use="enc")],
        "no-kid": [jwk(kid=None)],
        "first": [unused, jwk()],
        "replaced": [jwk(), unused],
        "alg": [jwk(alg="RS512")],
        "many": [jwk(), *many[:99]],
        "too-many": [jwk(), *many[:100]],
    }


@pytest.fixture(scope="module")
def elsewhere():
    started = Elsewhere()
    yield started
    started.stop()


def start(home: pathlib.Path, elsewhere: Elsewhere, *flags: str) -> Federation:
    sets = keys_of(elsewhere)
    issuers = [{"issuer": ISSUER, "documents": "self"}] + [elsewhere.publish(name, *keys) for name, keys in sets.items()]
    away = {"issuer": f"{ELSEWHERE}/away", "documents": f"{elsewhere.url}/away"}
    urls = [ISSUER, away["issuer"], *(f"{ELSEWHERE}/{name}" for name in sets)]
    plain = f"{ELSEWHERE}/plain"
    config = {"issuers": [*issuers, away], "aws": {
        "oidcProviders": [{"account": ACCOUNT, "url": url, "clientIdList": [AUDIENCE, "second"], "thumbprintList": ["0" * 40]} for url in urls],
        "roles": [
            role("team/caller", statement(ISSUER, StringEquals={"sub": SUBJECT, "aud": AUDIENCE}), maxSessionDuration=7200),
            role("like", statement(ISSUER, StringLike={"sub": "system:serviceaccount:*:call?r"})),
            role("denied", statement(ISSUER), statement(ISSUER, "Deny", StringLike={"sub": "*:caller"})),
            role("not", statement(ISSUER, StringNotEquals={"sub": SUBJECT})),
            role("second", statement(ISSUER, StringEquals={"aud": "second"})),
            role("another", statement(plain)),
            role("any", *(statement(url) for url in urls)),
            role("mfa", statement(plain, ForAnyValue__StringEquals={"amr": ["mfa"]})),
            role("no-amr", statement(plain, Null={"amr": "true"})),
            role("tagged", statement(plain, action=["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"])),
        ]}}
    return Federation(home, "aws", config, *flags)


@pytest.fixture(scope="module")
def aws(tmp_path_factory, elsewhere):
    started = start(tmp_path_factory.mktemp("aws"), elsewhere)
    yield started
    started.stop()


@pytest.fixture
def moved(tmp_path_factory, elsewhere):
    """One whose clock a test moves."""
    started = start(tmp_path_factory.mktemp("moved"), elsewhere)
    yield started
    started.stop()


@pytest.fixture
def sts(aws):
    return unsigned(aws)


def unsigned(aws):
    """A client that signs nothing, as the SDK's own provider has one."""
    return boto3.client("sts", region_name="us-east-1", endpoint_url=aws.sts, verify=str(aws.ca), config=Config(signature_version=UNSIGNED))


def assume(sts, token: str, role=ROLE, **more) -> dict:
    return sts.assume_role_with_web_identity(**{"RoleArn": role, "RoleSessionName": "session", "WebIdentityToken": token, **more})


def refused(call) -> tuple:
    with pytest.raises(ClientError) as error:
        call()
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def test_boto3_logs_in_with_the_environment_alone_and_refreshes(moved, tmp_path):
    aws = moved
    token = aws.project(tmp_path / "root", AUDIENCE)
    app = App(pathlib.Path(__file__).parent / "aws_app.py", tmp_path, AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
              AWS_ROLE_SESSION_NAME="app", AWS_ENDPOINT_URL_STS=aws.sts, AWS_CA_BUNDLE=str(aws.ca), AWS_DEFAULT_REGION="eu-central-1")
    first = app.after()
    assert first["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/app" and first["account"] == ACCOUNT, first
    assert first["user"].startswith("AROA") and first["user"].endswith(":app") and len(first["user"]) == 25
    assert first["key"].startswith("ASIA") and len(first["key"]) == 20
    before = aws.answered("aws", 200)

    def later(**span):
        aws.advance(**span)
        return app.after(**span)

    assert later(minutes=40) == first, "an hour's credentials are good"
    second = later(minutes=10)
    assert second["key"] != first["key"] and second["arn"] == first["arn"]
    assert aws.answered("aws", 200) == before + 3, "one login, and two calls"
    # The token of the beginning would be over by now.
    aws.project(tmp_path / "root", AUDIENCE)
    third = later(minutes=50)
    assert third["key"] not in (first["key"], second["key"]), third
    # Nobody writes the file anew: its token is over, five minutes of tolerance included.
    assert later(minutes=70) == {"code": "ExpiredTokenException"}
    app.stop()


def test_the_answer_has_what_aws_says(aws, sts):
    said = assume(sts, aws.token(AUDIENCE), DurationSeconds=900, Policy='{"Version": "2012-10-17", "Statement": []}',
                  PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}])
    assert said["SubjectFromWebIdentityToken"] == SUBJECT and said["Audience"] == AUDIENCE
    assert said["Provider"] == provider(ISSUER)
    assert said["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/session"
    assert said["AssumedRoleUser"]["AssumedRoleId"].endswith(":session")
    assert said["PackedPolicySize"] == 4 and "SourceIdentity" not in said
    left = said["Credentials"]["Expiration"] - aws.now()
    assert datetime.timedelta(seconds=898) < left <= datetime.timedelta(seconds=900)
    assert said["ResponseMetadata"]["RequestId"] == said["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert "PackedPolicySize" not in assume(sts, aws.token(AUDIENCE))


INVALID = "InvalidIdentityToken"
NO_KEY = (INVALID, 400, "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
DENIED = ("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
NO_JWT = (INVALID, 400, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")


@pytest.mark.parametrize(("role", "account", "audience", "want"), [
    ("team/caller", "default/caller", AUDIENCE, None),
    ("team/caller", "default/other", AUDIENCE, DENIED),
    ("team/caller", "default/caller", "second", DENIED),
    ("team/caller", "default/caller", "third", (INVALID, 400, "Incorrect token audience")),
    ("caller", "default/caller", AUDIENCE, DENIED),
    ("like", "default/caller", AUDIENCE, None),
    ("like", "default/callers", AUDIENCE, DENIED),
    ("denied", "default/other", AUDIENCE, None),
    ("denied", "default/caller", AUDIENCE, DENIED),
    ("not", "default/caller", AUDIENCE, DENIED),
    ("not", "default/other", AUDIENCE, None),
    ("second", "default/caller", "second", None),
    ("another", "default/caller", AUDIENCE, DENIED),
    ("missing", "default/caller", AUDIENCE, DENIED),
])
def test_trust_policies(aws, sts, role, account, audience, want):
    token = aws.token(audience, account=account)
    if want is None:
        assert assume(sts, token, arn(role))["Audience"] == audience
    else:
        assert refused(lambda: assume(sts, token, arn(role))) == want


@pytest.mark.parametrize(("issuer", "claims", "want"), [
    ("plain", {}, None),
    ("plain", {"iat": -299, "nbf": -299, "exp": -299}, None),
    ("plain", {"exp": -301}, ("ExpiredTokenException", 400, "Token expired: current date/time ")),
    ("plain", {"nbf": 301}, (INVALID, 400, "")),
    ("plain", {"nbf": 299, "iat": 299}, None),
    ("plain", {"iat": 301}, (INVALID, 400, "")),
    ("plain", {"sub": None}, (INVALID, 400, "Missing a required claim: sub")),
    ("plain", {"iat": None}, (INVALID, 400, "Missing a required claim: iat")),
    ("plain", {"exp": None}, (INVALID, 400, "Missing a required claim: exp")),
    ("plain", {"aud": None}, (INVALID, 400, "Missing a required claim: aud")),
    ("plain", {"iss": None}, (INVALID, 400, "Missing a required claim: iss")),
    ("plain", {"nbf": None}, None),
    ("plain", {"sub": "s" * 256}, (INVALID, 400, "")),
    ("plain", {"aud": [AUDIENCE]}, None),
    ("plain", {"aud": [AUDIENCE, "x"]}, (INVALID, 400, "Incorrect token audience")),
    ("plain", {"aud": [AUDIENCE, "x"], "azp": AUDIENCE}, None),
    ("plain", {"aud": [AUDIENCE], "azp": "x"}, (INVALID, 400, "Incorrect token audience")),
    ("plain", {"aud": "x", "azp": AUDIENCE}, None),
    ("plain", {"iss": ELSEWHERE}, (INVALID, 400, f"No OpenIDConnect provider found in your account for {ELSEWHERE}")),
    ("plain", {"iss": f"{ELSEWHERE}/plain/"}, (INVALID, 400, f"No OpenIDConnect provider found in your account for {ELSEWHERE}/plain/")),
    ("away", {}, NO_KEY),
    ("key-ops", {}, NO_KEY),
    ("enc", {}, NO_KEY),
    ("no-kid", {}, NO_KEY),
    ("first", {}, None),
    ("replaced", {}, (INVALID, 400, "")),
    ("alg", {}, None),
    ("many", {}, None),
    ("too-many", {}, NO_KEY),
])
def test_tokens(aws, sts, elsewhere, issuer, claims, want):
    at = int(aws.now().timestamp())
    claims = {name: at + value if isinstance(value, int) else value for name, value in claims.items()}
    token = elsewhere.sign(issuer, aws.now(), **{"aud": AUDIENCE, **claims})
    if want is None:
        assert assume(sts, token, arn("any"))["SubjectFromWebIdentityToken"] == "someone"
    else:
        code, status, message = refused(lambda: assume(sts, token, arn("any")))
        assert (code, status) == want[:2] and message.startswith(want[2]), message


def test_algorithms_and_signatures(aws, sts, elsewhere):
    def signed(**how):
        return elsewhere.sign("plain", aws.now(), aud=AUDIENCE, **how)

    for algorithm in ["RS256", "RS384", "RS512"]:
        assume(sts, signed(algorithm=algorithm), arn("any"))
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for token in [signed(algorithm="PS256"), signed(key=other), signed(key=ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")]:
        assert refused(lambda: assume(sts, token, arn("any")))[:2] == (INVALID, 400)
    assert refused(lambda: assume(sts, signed(header={"kid": "unknown"}), arn("any"))) == NO_KEY
    for token in ["token", "a.b.c", signed()[:-300], "x" * 20_000]:
        assert refused(lambda: assume(sts, token, arn("any")))[:2] == (INVALID, 400)
    assert refused(lambda: assume(sts, "Atza|IQEBLjAsAhRFiXuWpUXuRvQ9PZL3GMFc", arn("any"))) == NO_JWT


def test_conditions_on_amr_tags_and_source_identities(aws, sts, elsewhere):
    def signed(**claims):
        return elsewhere.sign("plain", aws.now(), aud=AUDIENCE, **claims)

    for amr, mfa, none in [(["pwd", "mfa"], True, False), (["pwd"], False, False), (None, False, True)]:
        token = signed(amr=amr)
        for name, holds in [("mfa", mfa), ("no-amr", none)]:
            if holds:
                assume(sts, token, arn(name))
            else:
                assert refused(lambda: assume(sts, token, arn(name))) == DENIED
    tags = {"https://aws.amazon.com/tags": {"principal_tags": {"team": ["pay"]}}}
    assert refused(lambda: assume(sts, signed(**tags), arn("any"))) == DENIED
    said = assume(sts, signed(**tags, **{"https://aws.amazon.com/source_identity": "alice"}), arn("tagged"))
    assert said["SourceIdentity"] == "alice"


def test_parameters(aws, sts):
    token = aws.token(AUDIENCE)
    at_least = "failed to satisfy constraint: Member must have value greater than or equal to 900"
    exceeds = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    for role, more, message in [
        (ROLE, {"DurationSeconds": 7200}, None),
        (ROLE, {"DurationSeconds": 7201}, exceeds),
        (arn("like"), {"DurationSeconds": 3601}, exceeds),
        (ROLE, {"RoleSessionName": "a b"}, r"1 validation error detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*"),
        (ROLE, {"RoleSessionName": "s" * 65}, "1 validation error detected: Value '" + "s" * 65 + "' at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64"),
        ("arn:aws:iam::123456789012:user/alice", {}, "Request ARN is invalid"),
    ]:
        if message is None:
            assume(sts, token, role, **more)
        else:
            assert refused(lambda: assume(sts, token, role, **more)) == ("ValidationError", 400, message)
    # What boto3 checks by itself.
    for parameters, code, words in [
        ({"Action": "AssumeRoleWithWebIdentity", "RoleArn": ROLE, "RoleSessionName": "session"}, "ValidationError",
         "1 validation error detected: Value null at 'webIdentityToken' failed to satisfy constraint: Member must not be null"),
        ({"Action": "AssumeRoleWithWebIdentity", "RoleArn": ROLE, "RoleSessionName": "x", "WebIdentityToken": token, "DurationSeconds": "899"},
         "ValidationError", "2 validation errors detected: "),
        ({"Action": "AssumeRoleWithWebIdentity", "RoleArn": ROLE, "RoleSessionName": "session", "WebIdentityToken": "x" * 20_001}, "ValidationError",
         "1 validation error detected: Value *** at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to 20000"),
        ({"Action": "AssumeRole", "RoleArn": ROLE}, "InvalidAction", "Could not find operation AssumeRole for version 2011-06-15"),
        ({"Action": "GetCallerIdentity", "Version": "2010-01-01"}, "InvalidAction", "Could not find operation GetCallerIdentity for version 2010-01-01"),
        ({}, "MissingAction", ""),
    ]:
        for method in ("GET", "POST"):
            status, body = raw(aws, method, {"Version": "2011-06-15", **parameters})
            assert status == 400 and f"<Code>{code}</Code>" in body and words.replace("'", "&#39;") in body, body
            assert "<Type>Sender</Type>" in body and 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"' in body


def raw(aws, method: str, parameters: dict, headers=None) -> tuple:
    text = urllib.parse.urlencode(parameters)
    url, data = (aws.sts + "/", text.encode()) if method == "POST" else (f"{aws.sts}/?{text}", None)
    request = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=aws.ca), timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_signed_requests(moved):
    aws, sts = moved, unsigned(moved)
    made = assume(sts, aws.token(AUDIENCE), DurationSeconds=900)["Credentials"]

    def client(key=made["AccessKeyId"], secret=made["SecretAccessKey"], token=made["SessionToken"], region="us-east-1"):
        return boto3.client("sts", region_name=region, endpoint_url=aws.sts, verify=str(aws.ca), aws_access_key_id=key,
                            aws_secret_access_key=secret, aws_session_token=token)

    for region in ["us-east-1", "eu-central-1", "cn-north-1"]:
        said = client(region=region).get_caller_identity()
        assert (said["Arn"], said["Account"]) == (f"arn:aws:sts::{ACCOUNT}:assumed-role/caller/session", ACCOUNT)
    mismatch = "The request signature we calculated does not match the signature you provided."
    invalid = ("InvalidClientTokenId", 403, "The security token included in the request is invalid")
    code, status, message = refused(client(secret="x" * 40).get_caller_identity)
    assert (code, status) == ("SignatureDoesNotMatch", 403) and message.startswith(mismatch)
    for wrong in [{"key": "ASIAAAAAAAAAAAAAAAAA"}, {"token": made["SessionToken"][:-4]}, {"token": None}, {"key": "AKIAAAAAAAAAAAAAAAAA", "token": None}]:
        assert refused(client(**wrong).get_caller_identity) == invalid
    status, body = raw(aws, "POST", {"Action": "GetCallerIdentity", "Version": "2011-06-15"})
    assert status == 403 and "<Code>MissingAuthenticationToken</Code>" in body

    # Presigned, as aws-iam-authenticator and Vault have it.
    url = client().generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    context = ssl.create_default_context(cafile=aws.ca)
    with urllib.request.urlopen(url, context=context, timeout=20) as reply:
        assert "assumed-role/caller/session</Arn>" in reply.read().decode()
    for changed in [url.replace("Action=GetCallerIdentity", "Action=GetCallerIdentity&More=1"), url[:-1] + ("0" if url[-1] != "0" else "1")]:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(changed, context=context, timeout=20)
        assert error.value.code == 403 and "SignatureDoesNotMatch" in error.value.read().decode()

    aws.advance(minutes=16)
    code, status, message = refused(client().get_caller_identity)
    assert (code, status) == ("SignatureDoesNotMatch", 403) and message.startswith("Signature expired: "), message
    # By a clock that goes with the server's, the session is over.
    request = botocore.awsrequest.AWSRequest("POST", aws.sts + "/", data="Action=GetCallerIdentity&Version=2011-06-15",
                                             headers={"Content-Type": "application/x-www-form-urlencoded"})
    with time_machine.travel(aws.now()):
        signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]), "sts", "us-east-1")
        signer.add_auth(request)
    prepared = request.prepare()
    asked = urllib.request.Request(prepared.url, method="POST", data=prepared.body.encode() if isinstance(prepared.body, str) else prepared.body,
                                   headers=dict(prepared.headers))
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked, context=context, timeout=20)
    assert error.value.code == 403 and "<Code>ExpiredToken</Code>" in error.value.read().decode()


def test_a_key_that_leaves_the_ring_is_believed_until_the_documents_are_read_again(tmp_path):
    config = {"issuers": [{"issuer": ISSUER, "documents": "self"}], "aws": {
        "oidcProviders": [{"account": ACCOUNT, "url": ISSUER, "clientIdList": [AUDIENCE]}], "roles": [role("any", statement(ISSUER))]}}
    aws = Federation(tmp_path, "aws", config, "--key-set-max-age=10m", "--signing-algorithm=ES256")
    sts = unsigned(aws)
    old = aws.token(AUDIENCE)
    assume(sts, old, arn("any"))
    active = next(key for key in json.loads(aws.ask("GET", "/admin/v1/keys"))["keys"] if key["phase"] == "active")
    subprocess.run([BINARY, "keys", "revoke", active["id"], "--fresh", "--force", "--reason=a test"], env=aws.env(), check=True, capture_output=True, timeout=60)
    assume(sts, old, arn("any"))
    aws.advance(seconds=11)
    # A kid that is not known has the documents read again, and the revoked key is gone with that.
    assume(sts, aws.token(AUDIENCE), arn("any"))
    assert refused(lambda: assume(sts, old, arn("any"))) == NO_KEY
    aws.stop()


def test_a_reload_takes_a_configuration_that_is_right_and_no_other(moved):
    aws, sts = moved, unsigned(moved)
    token = aws.token(AUDIENCE)
    made = assume(sts, token, arn("like"))["Credentials"]
    config = json.loads(aws.config.read_text())
    config["aws"]["roles"] = [role("new", statement(ISSUER))]

    def reload(text: str, said: str):
        aws.config.write_text(text)
        before = (aws.home / "log").read_text().count(said)
        aws.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while (aws.home / "log").read_text().count(said) == before:
            assert time.monotonic() < deadline, (aws.home / "log").read_text()
            time.sleep(0.05)

    reload(json.dumps(config), f"reloaded {aws.config}")
    assume(sts, token, arn("new"))
    assert refused(lambda: assume(sts, token, arn("like"))) == DENIED
    for wrong in ["issuers: []\n", "issuers: []\naws: {oidcProviders: [], roles: [], more: 1}\n", "{"]:
        reload(wrong, f"{aws.config} stays as it was")
        assume(sts, token, arn("new"))
    # A session outlives its role, as it does at AWS.
    client = boto3.client("sts", region_name="us-east-1", endpoint_url=aws.sts, verify=str(aws.ca), aws_access_key_id=made["AccessKeyId"],
                          aws_secret_access_key=made["SecretAccessKey"], aws_session_token=made["SessionToken"])
    assert client.get_caller_identity()["Arn"].endswith("assumed-role/like/session")


def test_what_is_too_long_or_nobodys_is_refused_and_nothing_secret_is_logged(tmp_path, elsewhere):
    aws = start(tmp_path, elsewhere, "--log=trace,h2=off,hyper=off,rustls=off,sled=off")
    sts, token = unsigned(aws), aws.token(AUDIENCE)
    made = assume(sts, token)["Credentials"]
    spoilt = token[:-4] + "AAAA"
    refused(lambda: assume(sts, spoilt))
    boto3.client("sts", region_name="us-east-1", endpoint_url=aws.sts, verify=str(aws.ca), aws_access_key_id=made["AccessKeyId"],
                 aws_secret_access_key=made["SecretAccessKey"], aws_session_token=made["SessionToken"]).get_caller_identity()
    assert raw(aws, "POST", {"Action": "x" * 200_000})[0] == 413
    assert raw(aws, "PUT", {})[0] == 400
    context = ssl.create_default_context(cafile=aws.ca)
    for path in ["/x", "/v1/token", "/.well-known/openid-configuration", "//"]:
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(aws.sts + path, context=context, timeout=20)
        assert error.value.code == 404
    assert raw(aws, "GET", {"Action": "GetCallerIdentity", "Version": "2011-06-15"}, {"Authorization": "Bearer " + token})[0] == 400
    aws.stop()
    log = (aws.home / "log").read_text()
    assert "a token is taken for a session" in log
    secrets = [*token.split("."), *spoilt.split("."), made["SecretAccessKey"], made["SessionToken"]]
    assert not [secret[:12] for secret in secrets if secret in log]
