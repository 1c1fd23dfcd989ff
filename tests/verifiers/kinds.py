"""The verifiers of CI: how each is started, and what is told of it that no suite measures."""

import dataclasses
import os
import pathlib
from typing import Callable

from issuer import Issuer
from running import HERE, Go, Program, Proxy, Standing
from vault import Vault


@dataclasses.dataclass
class Kind:
    title: str
    start: Callable[[Issuer], Program]
    # What it says of a key's fate, as docs/keys.md names it.
    family: str
    # Whether it knows which pods there are.
    knows_pods: bool = False
    # Whether it is the server's time that counts, and not its own.
    server_time: bool = False
    # Whether something else looks at the claims.
    keys_alone: bool = False
    # Flags that the server needs for it.
    flags: tuple = ()
    # What was waited for, where it was.
    waits: dict = dataclasses.field(default_factory=dict)
    # What else there is to know, and why it is so.
    note: str = ""

    def told(self) -> dict:
        return {"title": self.title, "source": "measured", "family": self.family, "knowsPods": self.knows_pods, "note": self.note}

    def named(self, what: str, when) -> str:
        """0, seconds, True or None in words."""
        if when is True:
            return self.waits[what]
        return {0: "at once", None: "never"}.get(when, f"after {when} s")


def go(name: str, program: str = "verifiers"):
    def start(issuer: Issuer) -> Program:
        return Go([pathlib.Path(os.environ["TOKENSMITH_GO"]) / program, f"-issuer={issuer.name}", f"-audience={issuer.audience}", f"-ca={issuer.ca}",
                   f"-server={issuer.url}", f"-reviewer={issuer.reviewer}", f"-socket={issuer.socket}", name], home=issuer.home)
    return start


def python(name: str):
    def start(issuer: Issuer) -> Program:
        return Program(["python3", HERE / "python" / "verifiers.py", name, issuer.name, issuer.audience, issuer.ca], home=issuer.home)
    return start


def node(name: str):
    def start(issuer: Issuer) -> Program:
        return Program(["node", HERE / "node" / "verifiers.mjs", name, issuer.name, issuer.audience, os.environ["TOKENSMITH_NODE"]],
                       env={"NODE_EXTRA_CA_CERTS": str(issuer.ca)}, home=issuer.home)
    return start


def proxy(issuer: Issuer) -> Program:
    return Proxy(issuer, str(pathlib.Path(os.environ["TOKENSMITH_GO"]) / "oauth2-proxy"))


def java(name: str):
    def start(issuer: Issuer) -> Program:
        return Standing(["java", "-cp", os.environ["TOKENSMITH_JAVA_VERIFIERS"], "tests.Verifiers", name, issuer.name, issuer.audience, issuer.ca], issuer.home)
    return start


def istio(issuer: Issuer) -> Program:
    return Go([os.environ["TOKENSMITH_ISTIO"], f"-issuer={issuer.name}"], env={"SSL_CERT_FILE": str(issuer.ca)}, home=issuer.home)


def vault(method: str):
    def start(issuer: Issuer) -> Program:
        return Vault(issuer, method)
    return start


def rust(issuer: Issuer) -> Program:
    return Standing([os.environ["TOKENSMITH_RUST_VERIFIERS"], issuer.name, issuer.audience, issuer.ca], issuer.home)


V3, V2 = "go-oidc v3 (oauth2-proxy, Dex, Vault's JWT auth)", "go-oidc 2.5 (kube-apiserver's OIDC authenticator)"
ASKS, SIGNER = "TokenReview's clients (Vault's Kubernetes auth)", "kube-apiserver with our external signer"
JAVA, ISTIO = "Spring Security, Nimbus", "Istio (istiod's key resolver)"
STATIC = "Authlib, python-jose, joserfc"
MAX_AGE = dict.fromkeys(("asks", "poked"), "in the last 30 s of max-age and later")
REVIEWER = ("the account it asks as needs a token of its own: one of the revoked key is refused, and with it every login, until "
            "`token_reviewer_jwt` is written anew")

KINDS = {
    "go-oidc": Kind("go-oidc v3", go("go-oidc"), V3),
    "go-oidc-2": Kind("go-oidc 2.5", go("go-oidc-2"), V2, waits=MAX_AGE),
    "oauth2-proxy": Kind("oauth2-proxy", proxy, V3),
    "vault-jwt": Kind("Vault's JWT auth", go("vault-jwt"), V3),
    "vault-kubernetes": Kind("Vault's Kubernetes auth", go("vault-kubernetes"), ASKS, knows_pods=True, server_time=True, note=REVIEWER),
    "istio-review": Kind("istiod's TokenReview", go("istio-review", "istio-review"), ASKS, knows_pods=True, server_time=True),
    "kube-apiserver": Kind(
        "kube-apiserver, external signer", go("kube-apiserver"), SIGNER, knows_pods=True,
        waits={"forgets": "after a sync (300 s at the latest) and 10 s", "poked": "after 10 s", "asks": "after 10 s"},
        note="remembers for 10 s a token that it has taken"),
    "kube-apiserver-oidc": Kind("kube-apiserver, OIDC", go("kube-apiserver-oidc"), V2, waits=MAX_AGE,
                                note="the algorithms are those of an AuthenticationConfiguration; `--oidc-signing-algs` alone says RS256"),
    "pyjwt": Kind("PyJWT (PyJWKClient)", python("pyjwt"), "PyJWT (PyJWKClient)"),
    "authlib": Kind("Authlib", python("authlib"), STATIC, note="the program fetches the key set, and fetches it again"),
    "python-jose": Kind("python-jose", python("python-jose"), STATIC,
                        note="the program fetches the key set, and chooses the key by its kid: given the whole set, it gives up at a key of another type"),
    "joserfc": Kind("joserfc", python("joserfc"), STATIC, note="the program fetches the key set, and fetches it again"),
    "jose": Kind("jose (createRemoteJWKSet)", node("jose"), "jose (createRemoteJWKSet)"),
    "jwks-rsa": Kind("jwks-rsa", node("jwks-rsa"), "jwks-rsa",
                     note="keeps each key by its kid: an unknown one makes it fetch, and changes nothing about those that it keeps"),
}

# Those that take minutes to fetch and to build: tests/verifiers/more/run.
REFRESH = dict.fromkeys(("forgets", "poked", "asks"), "after 20 min at the latest")
MORE = {
    "vault-server-jwt": Kind("Vault's server, JWT auth", vault("jwt"), V3),
    "vault-server-kubernetes": Kind("Vault's server, Kubernetes auth", vault("kubernetes"), ASKS, knows_pods=True, server_time=True, note=REVIEWER),
    "spring": Kind("Spring Security", java("spring"), JAVA),
    "nimbus": Kind("Nimbus (JWKSourceBuilder)", java("nimbus"), JAVA,
                   note="fetches twice in 30 s at most: an unknown kid beyond that is refused until they are over"),
    "istio": Kind("Istio's key resolver", istio, ISTIO, keys_alone=True, waits=REFRESH,
                  note="istiod fetches every 20 minutes (PILOT_JWT_PUB_KEY_REFRESH_INTERVAL), measured with 20 s, and hands the keys to Envoy, which looks at the claims"),
    "openidconnect": Kind("openidconnect (Rust)", rust, STATIC, flags=("--discovery-authorization-endpoint=https://unused.example",),
                          note="reads no discovery document without an `authorization_endpoint` (`serve --discovery-authorization-endpoint`); takes RS256 alone "
                               "unless it is told, and no token that is for others, too, unless it is asked about them"),
}
