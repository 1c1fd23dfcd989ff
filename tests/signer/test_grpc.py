"""The signer's Unix socket with stock gRPC clients and their defaults: Python's (the core library of C++, Ruby and PHP, too), which
names the socket where a host would stand, and grpcurl."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import time

import grpc
import pytest

BINARY = os.environ["TOKENSMITH_BIN"]
PROTO = pathlib.Path(__file__).parents[2] / "crates/signer/proto"
AUDIENCE = "https://kubernetes.default.svc"


def fields(message: bytes) -> dict:
    """What a message of protobuf holds, by number; all of one number in a list."""
    found, at = {}, 0

    def varint() -> int:
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = message[at]
            at, number, shift = at + 1, number | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return number

    while at < len(message):
        key = varint()
        value = varint()
        if key & 7 == 2:
            at, value = at + value, message[at:at + value]
        found.setdefault(key >> 3, []).append(value)
    return found


def claims() -> str:
    now = int(time.time())
    payload = {"aud": [AUDIENCE], "exp": now + 3600, "iat": now, "nbf": now, "sub": "system:serviceaccount:a:b"}
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()


def sign_request() -> bytes:
    text = claims().encode()
    return b"\x0a" + bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text


@pytest.fixture(scope="module", params=["signer.sock", "a folder/é[1].sock", "@tokensmith-grpc-test"])
def socket(request, tmp_path_factory):
    """A signer, and where it listens."""
    home = tmp_path_factory.mktemp("signer")
    address = request.param if request.param.startswith("@") else str(home / request.param)
    (home / "a folder").mkdir()
    with open(home / "log", "wb") as log:
        command = [BINARY, "signer", "--signing-algorithm=ES256", f"--socket={address}"]
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while subprocess.run([BINARY, "healthcheck"], cwd=home, capture_output=True).returncode:
        assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.05)
    yield address
    process.terminate()
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_python(socket, version):
    target = f"unix-abstract:{socket[1:]}" if socket.startswith("@") else f"unix:{socket}"
    with grpc.insecure_channel(target) as channel:
        def call(method: str, request: bytes = b"") -> dict:
            # Bytes, as they are.
            return fields(channel.unary_unary(f"/{version}.ExternalJWTSigner/{method}")(request, timeout=20))

        # The second call names the socket by a place in a table.
        for _ in range(3):
            assert call("Metadata")[1][0] >= 600
            keys = [fields(key) for key in call("FetchKeys")[1]]
            assert keys and all(key[1][0] and key[2][0] for key in keys)
        signed = call("Sign", sign_request())
        header = json.loads(base64.urlsafe_b64decode(signed[1][0] + b"=="))
        assert header["kid"].encode() in [key[1][0] for key in keys] and signed[2][0]
        with pytest.raises(grpc.RpcError) as refused:
            call("Sign", b"\x0a\x01%")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("scheme", ["", "unix:", "unix://"])
def test_grpcurl(socket, scheme):
    if not shutil.which("grpcurl"):
        pytest.skip("there is no grpcurl here: tests/run installs it")
    if socket.startswith("@") or " " in socket:
        pytest.skip("grpcurl reaches plain paths alone")
    target = ["-unix", socket] if not scheme else [f"{scheme}{socket}"]
    files = ["-import-path", str(PROTO), "-proto", "v1.proto"]

    def call(method: str, *data: str) -> dict:
        given = ["grpcurl", "-plaintext", "-max-time", "20", *files, *data, *target, f"v1.ExternalJWTSigner/{method}"]
        done = subprocess.run(given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert int(call("Metadata")["maxTokenExpirationSeconds"]) >= 600
    assert call("FetchKeys")["keys"]
    assert call("Sign", "-d", json.dumps({"claims": claims()}))["signature"]
