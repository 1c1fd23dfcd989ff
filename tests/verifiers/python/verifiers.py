"""Verifiers that people run in Python, each as a program that keeps running: verifiers.py NAME ISSUER AUDIENCE CA_FILE.

It reads lines from its standard input: `verify TOKEN` is answered by "taken" or "refused: why", `now` by the time it has,
`advance SECONDS` moves that time. What measures pauses stands still meanwhile, so that a cool-down is over only when it is moved."""

import importlib.metadata
import json
import ssl
import sys
import time
import urllib.request

NAME, ISSUER, AUDIENCE, CA = sys.argv[1:]
TLS = ssl.create_default_context(cafile=CA)
ahead = 0.0


def move_time():
    clock, begun = time.time, time.monotonic()
    time.time = lambda: clock() + ahead
    time.monotonic = lambda: begun + ahead


move_time()


def fetched(url):
    with urllib.request.urlopen(url, context=TLS, timeout=20) as reply:
        return json.load(reply)


DOCUMENT = fetched(ISSUER + "/.well-known/openid-configuration")
ALGORITHMS = DOCUMENT["id_token_signing_alg_values_supported"]


def pyjwt():
    import jwt

    client = jwt.PyJWKClient(DOCUMENT["jwks_uri"], ssl_context=TLS)
    return lambda token: jwt.decode(token, client.get_signing_key_from_jwt(token), algorithms=ALGORITHMS, audience=AUDIENCE, issuer=ISSUER)


def authlib():
    from authlib.jose import JsonWebKey, JsonWebToken

    keys = JsonWebKey.import_key_set(fetched(DOCUMENT["jwks_uri"]))
    jwt = JsonWebToken(ALGORITHMS)
    wanted = {"iss": {"essential": True, "value": ISSUER}, "aud": {"essential": True, "value": AUDIENCE}, "exp": {"essential": True}}
    return lambda token: jwt.decode(token, keys, claims_options=wanted).validate()


def python_jose():
    from jose import jwt

    # It does not look for a key by its kid: given a set it tries one after the other, and gives up at one of another type.
    keys = {key["kid"]: key for key in fetched(DOCUMENT["jwks_uri"])["keys"]}
    return lambda token: jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=ALGORITHMS, audience=AUDIENCE, issuer=ISSUER)


def joserfc():
    from joserfc import jwt
    from joserfc.jwk import KeySet

    keys = KeySet.import_key_set(fetched(DOCUMENT["jwks_uri"]))
    wanted = jwt.JWTClaimsRegistry(iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True})
    return lambda token: wanted.validate(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)


package, make = {"pyjwt": ("PyJWT", pyjwt), "authlib": ("Authlib", authlib), "python-jose": ("python-jose", python_jose), "joserfc": ("joserfc", joserfc)}[NAME]
verify = make()
print("ready", package, importlib.metadata.version(package), flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "now":
        print(time.time(), flush=True)
    elif word == "advance":
        ahead += float(rest)
        print("ok", flush=True)
    else:
        try:
            verify(rest)
            print("taken", flush=True)
        except Exception as refusal:  # each library has its own
            print(f"refused: {type(refusal).__name__}: {refusal}".replace("\n", " "), flush=True)
