"""Stock verifiers and clients: each verifies a pod-bound token from discovery alone, refuses it for another
audience, and reads a pod with it."""

import json
import os
import pathlib
import ssl
import subprocess
import urllib.request

import jwt
import kubernetes
import pytest

AUDIENCE = "https://reader.example"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
       "spec": {"serviceAccountName": "reader", "containers": [{"name": "app", "image": "app:1.0"}]}}


@pytest.fixture(scope="module")
def minted(server):
    """The issuer, a pod-bound token for AUDIENCE, one for the API server, and the CA file."""
    server.kubectl("create", "sa", "reader")
    server.kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    server.kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader")
    server.kubectl("create", "-f", "-", stdin=json.dumps(POD))
    bound = ["create", "token", "reader", "--bound-object-kind=Pod", "--bound-object-name=web"]
    issuer = json.loads(server.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    return {"issuer": issuer, "ca": server.ca_file(), "token": server.kubectl(*bound, f"--audience={AUDIENCE}"),
            "api": server.kubectl(*bound), "url": server.url}


def test_pyjwt(minted):
    tls = ssl.create_default_context(cafile=minted["ca"])
    # Discovery as a relying party does it: nothing but the issuer's name and its CA. The server picked a free
    # port, which the issuer carries.
    with urllib.request.urlopen(minted["issuer"] + "/.well-known/openid-configuration", context=tls) as reply:
        document = json.load(reply)
    assert document["issuer"] == minted["issuer"]
    key = jwt.PyJWKClient(document["jwks_uri"], ssl_context=tls).get_signing_key_from_jwt(minted["token"])
    algorithms = document["id_token_signing_alg_values_supported"]
    found = jwt.decode(minted["token"], key, algorithms=algorithms, audience=AUDIENCE, issuer=minted["issuer"],
                       options={"require": ["exp", "iat", "nbf", "iss", "sub", "aud", "jti"]})
    assert found["kubernetes.io"]["pod"]["name"] == "web"
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(minted["token"], key, algorithms=algorithms, audience="https://other.example", issuer=minted["issuer"])
    request = urllib.request.Request(minted["url"] + "/api/v1/namespaces/default/pods/web",
                                     headers={"Authorization": "Bearer " + minted["api"]})
    with urllib.request.urlopen(request, context=tls) as reply:
        assert json.load(reply)["metadata"]["name"] == "web"


def test_python_kubernetes(minted):
    configuration = kubernetes.client.Configuration(host=minted["url"])
    configuration.ssl_ca_cert = str(minted["ca"])
    configuration.api_key = {"authorization": "Bearer " + minted["api"]}
    with kubernetes.client.ApiClient(configuration) as api:
        core = kubernetes.client.CoreV1Api(api)
        assert core.read_namespaced_pod("web", "default").metadata.name == "web"
        with pytest.raises(kubernetes.client.ApiException) as refused:
            core.list_namespaced_secret("default")
        assert refused.value.status == 403


def test_python_kubernetes_reviews_a_token(minted, server):
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        reviews = kubernetes.client.AuthenticationV1Api(api)

        def review(audience):
            spec = kubernetes.client.V1TokenReviewSpec(token=minted["token"], audiences=[audience])
            return reviews.create_token_review(kubernetes.client.V1TokenReview(spec=spec)).status

        good = review(AUDIENCE)
        assert good.authenticated and good.audiences == [AUDIENCE]
        assert good.user.extra["authentication.kubernetes.io/pod-name"] == ["web"]
        bad = review("https://other.example")
        assert not bad.authenticated and "is invalid for the target audiences" in bad.error


def test_python_kubernetes_requests_a_token(server):
    with kubernetes.config.new_client_from_config(str(server.kubeconfig)) as api:
        body = kubernetes.client.AuthenticationV1TokenRequest(
            spec=kubernetes.client.V1TokenRequestSpec(audiences=["vault"], expiration_seconds=900))
        reply = kubernetes.client.CoreV1Api(api).create_namespaced_service_account_token("default", "default", body)
        assert reply.spec.expiration_seconds == 900
        assert jwt.decode(reply.status.token, options={"verify_signature": False})["aud"] == ["vault"]


def test_jose(minted):
    folder = pathlib.Path(__file__).parent / "node"
    env = {**os.environ, "NODE_EXTRA_CA_CERTS": str(minted["ca"]), "ISSUER": minted["issuer"], "URL": minted["url"],
           "TOKEN": minted["token"], "API_TOKEN": minted["api"], "AUDIENCE": AUDIENCE,
           "JOSE": os.environ["TOKENSMITH_NODE"] + "/node_modules/jose/dist/webapi/index.js"}
    done = subprocess.run(["node", "--test", str(folder / "jose.test.mjs")], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 3" in done.stdout, done.stdout


@pytest.mark.parametrize("file", ["kubernetes", "patches"])
def test_client_node(server, file):
    folder = pathlib.Path(__file__).parent / "node"
    env = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(server.home),
           "CLIENT_NODE": os.environ["TOKENSMITH_NODE"] + "/node_modules/@kubernetes/client-node/dist/index.js"}
    done = subprocess.run(["node", "--test", str(folder / f"{file}.test.mjs")], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"kubernetes": "pass 5", "patches": "pass 3"}[file] in done.stdout, done.stdout
