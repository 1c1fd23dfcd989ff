"""What the pages' commands stand on."""

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import textwrap
import time
from typing import Callable

import yaml

# What a machine of the gate cannot run, and what stands for it.
NOT_HERE = {
    "docker compose": "needs a container engine; tests/image runs what the image holds",
    "docker cp": "needs a container engine",
    "kind create": "needs a container engine; tests/verifiers/more/run kube-apiserver has a real one sign through us",
}
if not shutil.which("vault"):
    NOT_HERE["vault"] = "it takes minutes to build; tests/verifiers/more/run vault does, and runs this"


def nothing(stage) -> None:
    pass


def server(stage, flags: str = "") -> None:
    """A server with its defaults, and the account payments/api."""
    stage.start(f"tokensmith serve --anonymous-oidc {flags}")
    accounts(stage)


def accounts(stage) -> None:
    stage.env["KUBECONFIG"] = str(stage.work / "tokensmith-data" / "admin.kubeconfig")
    stage.sh("kubectl create namespace payments && kubectl create serviceaccount api -n payments")


def certificate(stage) -> None:
    """tls.crt and tls.key of a CA that the system trusts."""
    stage.sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -subj /CN=roots -days 30 2>&1 && "
             "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -subj /CN=tokens.example.com -out tls.csr 2>&1 && "
             "printf 'subjectAltName=DNS:tokens.example.com,DNS:api.example.com,DNS:app.example.com' > tls.ext && "
             "openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -days 30 -extfile tls.ext -out tls.crt 2>&1 && chmod 600 tls.key")
    stage.env["SSL_CERT_FILE"] = stage.env["CURL_CA_BUNDLE"] = str(stage.work / "ca.crt")


def public(stage) -> None:
    """The server of issuer.md: https://tokens.example.com."""
    certificate(stage)
    stage.start("tokensmith serve --service-account-issuer https://tokens.example.com --anonymous-oidc"
                " --tls-cert-file tls.crt --tls-private-key-file tls.key --secure-port 443")
    stage.env["KUBECONFIG"] = str(stage.work / "tokensmith-data" / "admin.kubeconfig")


def application(stage, address: str, port: int, tls: bool) -> None:
    """A web server of Python's: HTTP/1.1, nothing else."""
    wrap = "import ssl; c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('tls.crt', 'tls.key'); s.socket = c.wrap_socket(s.socket, server_side=True)" if tls else ""
    (stage.work / f"app-{port}.py").write_text(textwrap.dedent(f"""
        import http.server
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                body = repr(sorted(self.headers.items())).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        s = http.server.ThreadingHTTPServer(("{address}", {port}), Handler)
        {wrap}
        s.serve_forever()
        """))
    stage.start(f"python3 app-{port}.py", ready=lambda: connects(address, port))


def connects(address: str, port: int) -> bool:
    import socket
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def curl_says(stage, arguments: str, *words: str) -> None:
    said = stage.sh(f"curl --silent --show-error --max-time 20 {arguments}")
    for word in words:
        assert word in said, f"curl {arguments}\nsays\n{said}\nwithout {word}"


def no_replacements(stage) -> dict:
    return {}


@dataclasses.dataclass
class Scene:
    setup: Callable = server
    # By how a command begins: what is done before and after it, and the code that it ends with, if not 0.
    before: dict = dataclasses.field(default_factory=dict)
    after: dict = dataclasses.field(default_factory=dict)
    codes: dict = dataclasses.field(default_factory=dict)
    # What stands for another thing in this world.
    replace: Callable = no_replacements
    file: Callable = lambda stage, item: None


def keys(stage) -> None:
    certificate(stage)
    server(stage)
    a_spare(stage)
    application(stage, "127.0.0.3", 443, tls=True)


def own_keys(stage) -> dict:
    """The page's spare is another one here."""
    listed = stage.sh("tokensmith keys list")
    return {"dNTNLOvgaqSqSB3_f6bjpZj4qqomNhr2xN6WLutLhTU": next(line.split()[0] for line in listed.split("\n") if " prepared " in line)}


def signer(stage) -> None:
    pathlib.Path("/run/tokensmith").mkdir(mode=0o700)


def why(stage) -> None:
    server(stage)
    (stage.work / "binding.yaml").write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: more}\n"
        "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n")


def backup(stage) -> None:
    server(stage)
    pathlib.Path("/mnt/backup").mkdir(mode=0o700)
    shutil.copy(stage.work / "tokensmith-data" / "seal.key", stage.work / "seal.key")


def project(stage) -> None:
    server(stage)
    guide = pathlib.Path(__file__).parents[1] / "guide-volumes" / "basic.yaml"
    shutil.copy(guide, stage.work / "pod.yaml")
    app = stage.work / "app"
    app.write_text("#!/bin/sh\nfind /var/run/secrets -name token | grep -q . && echo the application ran\n")
    app.chmod(0o755)
    stage.sh("kubectl apply -f - <<< '{apiVersion: v1, kind: Node, metadata: {name: worker-1}}'")


def sidecar(stage) -> None:
    public(stage)
    accounts(stage)
    token = pathlib.Path("/var/run/secrets/tokens")
    token.mkdir(parents=True)
    stage.sh(f"umask 077; tokensmith token create api -n payments --audience https://api.example.com --duration 1h > {token}/token")
    application(stage, "127.0.0.2", 443, tls=True)
    application(stage, "127.0.0.1", 8080, tls=False)


def with_token(stage) -> None:
    """Whoever has a token gets in, over what curl speaks by default, and nobody else."""
    curl_says(stage, '--output /dev/null --write-out %{http_code} https://app.example.com:8443/', "401")
    curl_says(stage, '--fail -H "Authorization: Bearer $(cat /var/run/secrets/tokens/token)" https://app.example.com:8443/',
               "x-remote-user", "system:serviceaccount:payments:api")


def vault(stage) -> None:
    """A server that nobody has set up; Kubernetes auth is a program beside it."""
    stage.env |= {"VAULT_ADDR": "http://127.0.0.1:8200", "VAULT_TOKEN": "root"}
    plugins = pathlib.Path(shutil.which("vault")).parent / "plugins"
    stage.start(f"vault server -dev -dev-no-store-token -dev-root-token-id=root -dev-plugin-dir={plugins}",
                ready=lambda: re.search(r"Sealed +false", stage.sh("vault status", None)))


def recipes(stage) -> None:
    public(stage)
    if "vault" not in NOT_HERE:
        vault(stage)
    pathlib.Path("/run/tokensmith").mkdir(mode=0o700)
    application(stage, "127.0.0.1", 8080, tls=False)
    stage.sh("openssl genrsa -out sa.key 2048 2>&1 && openssl rsa -in sa.key -pubout -out sa.pub 2>&1")
    (stage.work / "kube-apiserver.yaml").write_text(
        "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - --service-account-issuer=https://kubernetes.default.svc.cluster.local\n"
        "    - --service-account-key-file=/etc/kubernetes/pki/sa.pub\n    - --service-account-signing-key-file=/etc/kubernetes/pki/sa.key\n")


def workflow(stage, item) -> None:
    """Runs the steps of a workflow, each in a shell of its own as GitHub's runner does; checks that other files can be read."""
    document = yaml.safe_load(item.text)
    for job in document.get("jobs", {}).values():
        runner = stage.home / "runner"
        runner.mkdir()
        variables = runner / "env"
        variables.touch()
        for step in job["steps"]:
            given = dict(line.split("=", 1) for line in variables.read_text().split("\n") if line)
            print(f"  {item.line}: step {step['name']}", flush=True)
            stage.sh("set -e\n" + step["run"], env={"RUNNER_TEMP": str(runner), "GITHUB_ENV": str(variables), **given})
        subprocess.run(["pkill", "-f", f"{runner}/kubeconfig"], check=True)


def the_api_server_asks_us(stage) -> None:
    command = yaml.safe_load((stage.work / "kube-apiserver.yaml").read_text())["spec"]["containers"][0]["command"]
    assert command == ["kube-apiserver", "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                       "--service-account-signing-endpoint=/run/tokensmith/signer.sock"], command


def let_in(stage) -> None:
    curl_says(stage, "--output /dev/null --write-out %{http_code} http://127.0.0.1:4180/", "403")


def a_spare(stage) -> None:
    """The first one is made a while after the first start."""
    deadline = time.monotonic() + 60
    while "prepared" not in stage.sh("tokensmith keys list"):
        assert time.monotonic() < deadline, "no spare is made"
        time.sleep(0.1)


def everyone_is_content(stage) -> None:
    """With the public settings no rule of any verifier fails, but that this world has no address of the internet, and what the page says of Rust's."""
    said = json.loads(stage.sh("tokensmith doctor --issuer https://tokens.example.com --for all --output json 2>/dev/null", 3))
    failing = {one["name"]: [rule["rule"] for rule in one["rules"] if rule["holds"] is False] for one in said["verifiers"] if not one["holds"]}
    assert failing == {**dict.fromkeys(("aws", "gcp", "azure"), ["outside"]), "openidconnect": ["members"]}, failing


def configuration(stage, item) -> None:
    """What the page tells to save."""
    for cloud, name in {"aws": "sts.yaml", "gcp": "gcp.yaml", "azure": "azure.yaml"}.items():
        if f"\n{cloud}:\n" in item.text:
            (stage.work / name).write_text(item.text)


def policy(stage, item) -> None:
    """What the page tells to save."""
    if "clients:" in item.text:
        (stage.work / "policy.yaml").write_text(item.text)


def exchanged(stage) -> None:
    """The page's request, again, and what introspection says of its answer."""
    form = (("token", "access"), ("client_assertion", "gateway"))
    if all((stage.work / name).exists() for _, name in form):
        said = " ".join(f"--data-urlencode {field}@{name}" for field, name in form)
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        curl_says(stage, f"--cacert tokensmith-data/ca.crt https://127.0.0.1:6443/oauth2/introspect {said} --data-urlencode client_assertion_type={kind}",
                  '"active":true', '"sub":"serviceaccount:payments:api"', '"scope":"read"')


def a_session(stage) -> None:
    """The service of the page says who one is; the SDKs themselves are tests/federation's, whose Python is another one."""
    curl_says(stage, "--cacert tokensmith-data/ca.crt --data Action=GetCallerIdentity --data Version=2011-06-15 https://127.0.0.1:6444/", "MissingAuthenticationToken")


SCENES = {
    "README.md": Scene(setup=nothing),
    "issuer.md": Scene(setup=certificate, before={"tokensmith doctor": a_spare}, after={
        "curl": lambda stage: stage.env.update(KUBECONFIG=str(stage.work / "tokensmith-data" / "admin.kubeconfig")),
        "tokensmith doctor": everyone_is_content,
    }),
    # No cloud reaches an issuer on this machine.
    "doctor.md": Scene(setup=server, before={"tokensmith doctor": a_spare}, codes={"tokensmith doctor --issuer https://127.0.0.1:6443 --certificate-authority tokensmith-data/ca.crt --for aws": 3}),
    "keys.md": Scene(setup=keys, replace=own_keys, codes={"tokensmith keys activate": 3}),
    "signer.md": Scene(setup=signer),
    "why.md": Scene(setup=why, codes={
        "tokensmith why --file": 1,
        # Its account may not make bindings at all.
        "tokensmith token create api -n payments | tokensmith why": 1,
    }),
    "backup.md": Scene(setup=backup, before={"tokensmith backup --offline": lambda stage: stage.stop("serve")}),
    "project.md": Scene(setup=project),
    "sidecar.md": Scene(setup=sidecar, after={
        "tokensmith proxy --token-file /var/run/secrets/tokens/token  ": lambda stage: curl_says(stage, "--fail http://localhost:8181/token", "eyJ"),
        "tokensmith proxy --service-account": lambda stage: curl_says(stage, "--fail 'http://localhost:8181/token?audience=vault'", "eyJ"),
        "tokensmith proxy --token-file /var/run/secrets/tokens/token --upstream": lambda stage: curl_says(stage, "--fail http://localhost:8181/", "Bearer eyJ"),
        "tokensmith proxy --verify": with_token,
    }),
    "federation.md": Scene(setup=nothing, file=configuration, after={"curl --fail --silent --show-error --cacert tokensmith-data/ca.crt --data Action=": a_session}),
    "exchange.md": Scene(setup=nothing, file=policy, after={"curl": exchanged}),
    "recipes.md": Scene(setup=recipes, file=workflow, after={"docker exec": the_api_server_asks_us, "oauth2-proxy": let_in}, replace=lambda stage: {
        "docker exec kind-control-plane ": "", "/etc/kubernetes/manifests/kube-apiserver.yaml": "kube-apiserver.yaml",
        # The server of this page stands on the same port's data already.
        "tokensmith serve --external-signer-socket": "tokensmith serve --secure-port 443 --service-account-issuer https://tokens.example.com --external-signer-socket",
    }),
}
