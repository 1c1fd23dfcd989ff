"""azure-identity, unmodified and with the environment of Workload ID alone, logs in by federated credentials; and each rule that is
broken gives the code that Entra gives (their sources stand in docs/federation.md)."""

import datetime
import json
import pathlib
import re
import subprocess

import azure.core.exceptions
import jwt
import msal
import pytest
import requests
from conftest import BINARY
from azure.identity import ClientAssertionCredential
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from federation import ELSEWHERE, ISSUER, SUBJECT, App, Elsewhere, Federation

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
BARE = "33333333-3333-3333-3333-333333333333"
AUDIENCE = "api://AzureADTokenExchange"
VAULT = "https://vault.azure.net/.default"


def credential(name: str, issuer: str, subject: str, audience=AUDIENCE) -> dict:
    return {"name": name, "issuer": issuer, "subject": subject, "audiences": [audience]}


@pytest.fixture(scope="module")
def elsewhere():
    started = Elsewhere()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def entra(tmp_path_factory, elsewhere):
    plain = elsewhere.publish("plain", elsewhere.jwk())
    away = {"issuer": f"{ELSEWHERE}/away", "documents": f"{elsewhere.url}/away"}
    config = {"issuers": [{"issuer": ISSUER, "documents": "self"}, plain, away], "azure": {"tenants": [{
        "tenantId": TENANT, "displayName": "Contoso", "domains": ["contoso.onmicrosoft.com"], "applications": [
            {"appId": CLIENT, "displayName": "app", "federatedIdentityCredentials": [
                credential("cluster", ISSUER, SUBJECT), credential("plain", plain["issuer"], "someone"),
                credential("away", away["issuer"], "someone")]},
            {"appId": BARE, "displayName": "bare"}]}]}}
    started = Federation(tmp_path_factory.mktemp("azure"), "azure", config)
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def trusting(entra, monkeypatch):
    """The CA as documented for requests; it goes before a session's own."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(entra.ca))


@pytest.fixture
def root(tmp_path):
    """Where volumes are; their mounts would stay."""
    yield tmp_path / "root"
    subprocess.run([BINARY, "project", "remove", f"--root={tmp_path}/root"], check=True, capture_output=True, timeout=60)


def environment(entra, token_file) -> dict:
    """What the webhook of Workload ID puts into a pod, with this machine's authority and its CA."""
    return {"AZURE_AUTHORITY_HOST": entra.sts, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT,
            "AZURE_FEDERATED_TOKEN_FILE": str(token_file), "REQUESTS_CA_BUNDLE": str(entra.ca)}


def verified(entra, token: str) -> dict:
    """The claims of an access token, checked by the documents of its tenant."""
    document = requests.get(f"{entra.sts}/{TENANT}/v2.0/.well-known/openid-configuration", timeout=60).json()
    keys = jwt.PyJWKSet.from_dict(requests.get(document["jwks_uri"], timeout=60).json())
    # Its times are the server's.
    return jwt.decode(token, keys.keys[0], ["EdDSA"], audience="https://vault.azure.net", issuer=document["issuer"],
                      options={"verify_exp": False, "verify_nbf": False, "verify_iat": False})


@pytest.mark.parametrize("how", ["workload", "default"])
def test_azure_identity_logs_in_with_the_environment_alone_and_refreshes(entra, tmp_path, root, how):
    token = entra.project(root, AUDIENCE)
    app = App(pathlib.Path(__file__).parent / "azure_app.py", tmp_path, HOW=how, **environment(entra, token))
    first = app.after()
    claims = verified(entra, first["token"])
    assert (claims["azp"], claims["tid"], claims["idtyp"]) == (CLIENT, TENANT, "app"), first
    before = entra.answered("azure", 200)

    def later(**span):
        entra.advance(**span)
        return app.after(**span)

    assert later(minutes=50)["token"] == first["token"], "an hour's token is good"
    assert entra.answered("azure", 200) == before
    # The projected token of the beginning would soon be over: it is written anew, as it would be by now.
    entra.project(root, AUDIENCE)
    second = later(minutes=11)
    assert second["token"] != first["token"] and verified(entra, second["token"])["azp"] == CLIENT
    assert entra.answered("azure", 200) == before + 3, "one login; and two documents to check its token"
    # Nobody writes the file anew: its token is over, five minutes of tolerance included.
    assert "AADSTS700024: Client assertion is not within its valid time range." in later(minutes=66)["failed"]
    app.stop()


def login(entra, token: str, scope=VAULT, tenant=TENANT, client=CLIENT) -> str:
    made = ClientAssertionCredential(tenant, client, lambda: token, authority=entra.sts)
    return made.get_token(scope).token


def refused(entra, *args, **more) -> tuple:
    """The code, OAuth's error and the status of a login that is refused."""
    with pytest.raises(azure.core.exceptions.ClientAuthenticationError) as error:
        login(entra, *args, **more)
    answer = error.value.response
    body = json.loads(answer.text())
    described = body["error_description"]
    [code] = body["error_codes"]
    assert re.fullmatch(rf"AADSTS{code}: .+ Trace ID: {body['trace_id']} Correlation ID: {body['correlation_id']} "
                        rf"Timestamp: {re.escape(body['timestamp'])}", described), described
    assert body["error_uri"] == f"https://login.microsoftonline.com/error?code={code}"
    return code, body["error"], answer.status_code


def test_each_broken_rule_gives_entras_code(entra, elsewhere):
    now, hour = entra.now(), datetime.timedelta(hours=1)

    def sign(name="plain", **claims):
        return elsewhere.sign(name, **{"now": now, "aud": AUDIENCE, **claims})

    assert verified(entra, login(entra, sign()))["azp"] == CLIENT
    assert login(entra, sign(header={"typ": "JWT"}))
    assert login(entra, entra.token(AUDIENCE), tenant="contoso.onmicrosoft.com")
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    client, request = "invalid_client", "invalid_request"
    cases = [
        ("another issuer", sign(iss=f"{ELSEWHERE}/plain/"), 700211, client, 401),
        ("another subject", sign(sub="another"), 700213, client, 401),
        ("a subject in other letters", sign(sub="SomeOne"), 7002138, client, 401),
        ("another audience", sign(aud="api://azureadtokenexchange"), 700212, client, 401),
        ("over", sign(now=now - 2 * hour), 700024, client, 401),
        ("of the future", sign(now=now + hour), 700024, client, 401),
        ("another key", sign(key=foreign), 700027, client, 401),
        ("an unknown kid", sign(header={"kid": "other"}), 7000272, client, 401),
        ("no documents", sign("away"), 501661, request, 400),
        ("ES256", sign(key=curve, algorithm="ES256"), 5002738, client, 401),
        ("RS512", sign(algorithm="RS512"), 5002738, client, 401),
        ("an access token", sign(header={"typ": "at+jwt"}), 5002727, request, 400),
        ("no iss", sign(iss=None), 90014, request, 400),
        ("no aud", sign(aud=None), 90014, request, 400),
        ("no sub", sign(sub=None), 50027, request, 400),
        ("no exp", sign(exp=None), 50027, request, 400),
        ("no token", "not-a-token", 50027, request, 400),
    ]
    for what, token, *expected in cases:
        assert refused(entra, token) == tuple(expected), what
    assert refused(entra, sign(), client=BARE) == (70025, client, 401)
    assert refused(entra, sign(), client=TENANT) == (700016, "unauthorized_client", 400)
    assert refused(entra, sign(), tenant="44444444-4444-4444-4444-444444444444") == (90002, request, 400)
    assert refused(entra, sign(), tenant="nobody") == (900023, request, 400)
    assert refused(entra, sign(), scope="https://vault.azure.net") == (1002012, "invalid_scope", 400)


def test_msal_finds_the_tenant_by_its_documents(entra, elsewhere):
    """The library below azure-identity's other credentials: its discovery of the tenant, with instance discovery off as documented."""
    session = requests.Session()
    assertion = {"client_assertion": lambda: elsewhere.sign("plain", entra.now(), aud=AUDIENCE)}
    app = msal.ConfidentialClientApplication(CLIENT, authority=f"{entra.sts}/{TENANT}", client_credential=assertion, http_client=session,
                                             instance_discovery=False)
    answer = app.acquire_token_for_client([VAULT])
    assert answer.get("token_type") == "Bearer", answer
    assert verified(entra, answer["access_token"])["azp"] == CLIENT
    instance = session.get(f"{entra.sts}/common/discovery/instance", timeout=60, params={
        "api-version": "1.1", "authorization_endpoint": f"{entra.sts}/{TENANT}/oauth2/v2.0/authorize"}).json()
    assert instance["tenant_discovery_endpoint"] == f"{entra.sts}/{TENANT}/v2.0/.well-known/openid-configuration"
    with pytest.raises(ValueError):
        msal.ConfidentialClientApplication(CLIENT, authority=f"{entra.sts}/nobody", client_credential=assertion, http_client=session,
                                           instance_discovery=False).acquire_token_for_client([VAULT])
