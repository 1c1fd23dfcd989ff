"""kubectl against servers with a certificate of their own: the kubeconfig that is written works on this machine whoever
signed the certificate, and the certificate's names lead to it."""

import datetime
import ipaddress
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import BINARY, Server

NOW = datetime.datetime.now(datetime.timezone.utc)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Issued:
    """A certificate, signed by `parent` or by itself."""

    def __init__(self, subject, parent=None, ca=False, names=()):
        self.key, self.subject, self.of_itself = ec.generate_private_key(ec.SECP256R1()), subject, parent is None
        by, key = (parent.subject, parent.key) if parent else (subject, self.key)
        builder = x509.CertificateBuilder(name(by), name(subject), self.key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(NOW - datetime.timedelta(hours=1)).not_valid_after(NOW + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([self.general(n) for n in names]), critical=False)
        self.pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def general(text):
        try:
            return x509.IPAddress(ipaddress.ip_address(text))
        except ValueError:
            return x509.DNSName(text)

    def write(self, home, *parents):
        (home / "tls.crt").write_bytes(b"".join([self.pem, *(parent.pem for parent in parents)]))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (home / "tls.key").write_bytes(self.key.private_bytes(*form))
        (home / "tls.key").chmod(0o600)


ROOT = Issued("a root", ca=True)
BELOW = Issued("one below", ROOT, ca=True)
FLAGS = "--tls-cert-file=tls.crt", "--tls-private-key-file=tls.key"
EVERYWHERE = "tokens.example.com", "localhost", "127.0.0.1"

CASES = {
    "a leaf alone": (Issued("s", ROOT, names=["tokens.example.com"]), [], "tokens.example.com"),
    "with one below": (Issued("s", BELOW, names=["tokens.example.com"]), [BELOW], "tokens.example.com"),
    "with its root": (Issued("s", BELOW, names=["tokens.example.com"]), [BELOW, ROOT], "tokens.example.com"),
    "a wildcard": (Issued("s", ROOT, names=["*.example.com"]), [ROOT], "a.example.com"),
    "signed by itself": (Issued("s", names=["tokens.example.com"]), [], "tokens.example.com"),
    "as openssl req -x509 makes it": (Issued("s", ca=True, names=["tokens.example.com"]), [], "tokens.example.com"),
    "an address alone": (Issued("s", ROOT, names=["10.9.8.7"]), [ROOT], None),
    "all names of this machine": (Issued("s", ROOT, names=EVERYWHERE), [ROOT], "tokens.example.com"),
    "all of them, without the root": (Issued("s", ROOT, names=EVERYWHERE), [], "tokens.example.com"),
    "all of them, signed by itself": (Issued("s", ca=True, names=EVERYWHERE), [], "tokens.example.com"),
    "no name": (Issued("s", ROOT), [ROOT], None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_written_kubeconfig_works_here_and_the_certificates_name_elsewhere(case, tmp_path):
    leaf, parents, host = CASES[case]
    leaf.write(tmp_path, *parents)
    server = Server(tmp_path, *FLAGS, "--ephemeral", "--signing-algorithm=ES256")
    try:
        assert "system:masters" in server.kubectl("auth", "whoami")
        subprocess.run([BINARY, "token", "create", "default"], env=server.env(), check=True, capture_output=True, timeout=60)
        if host is None:
            return
        port = server.url.rsplit(":", 1)[1]
        (tmp_path / "root.pem").write_bytes((leaf if leaf.of_itself else ROOT).pem)
        made = subprocess.run(
            [BINARY, "kubeconfig", "--advertise", f"https://{host}:{port}", "--advertise-ca", "root.pem", "--write", "elsewhere"],
            env=server.env(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert made.returncode == 0, made.stderr
        # No resolver knows the name here, so kubectl is led to the address, and asks for the name all the same.
        there = "--server", f"https://127.0.0.1:{port}", "--tls-server-name", host
        assert "system:masters" in server.kubectl(*there, "auth", "whoami", kubeconfig=tmp_path / "elsewhere")
        assert "unknown authority" in server.kubectl(
            "--server", f"https://127.0.0.1:{port}", "--tls-server-name", host, "--certificate-authority", str(own_ca(server)),
            "--kubeconfig", str(without_ca(tmp_path)), "auth", "whoami", code=1)
    finally:
        server.stop()


def own_ca(server):
    """A CA that has nothing to do with it."""
    path = server.home / "other.pem"
    path.write_bytes(Issued("another root", ca=True).pem)
    return path


def without_ca(home):
    text = (home / "elsewhere").read_text().splitlines()
    path = home / "without"
    path.write_text("\n".join(line for line in text if "certificate-authority-data" not in line))
    return path
