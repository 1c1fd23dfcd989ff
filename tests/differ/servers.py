"""The two servers that are compared: etcd with kube-apiserver, and tokensmith, alike in all that flags can say."""
import contextlib, pathlib, shutil, socket, ssl, subprocess, tempfile, time, urllib.error, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADMIN, JANE = "differ-admin", "differ-jane"  # worth nothing: tokens of servers that listen on loopback for minutes
USERS = f'{ADMIN},admin,admin-uid,"system:masters"\n{JANE},jane,jane-uid,"devs"\n'
ISSUER = "https://issuer.example"
AUDIENCES = "https://kubernetes.default.svc,api"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(stack, folder, name, args):
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen([str(a) for a in args], stdout=log, stderr=log, cwd=folder)

    def end():
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
    stack.callback(end)
    return process


def ready(process, url, limit=120):
    """Waits until a server says that it is ready."""
    context, until = ssl._create_unverified_context(), time.monotonic() + limit
    request = urllib.request.Request(url + "/readyz", headers={"Authorization": "Bearer " + ADMIN})
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} has ended with {process.returncode}: see its log")
        try:
            with urllib.request.urlopen(request, context=context, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit(f"{process.args[0]} does not become ready: see its log")


def kubernetes(stack, folder, programs, keys):
    """Starts etcd and kube-apiserver; gives the latter's URL. `keys` are its flags about issuers and their keys."""
    peer, client, port = free_port(), free_port(), free_port()
    start(stack, folder, "etcd", [
        programs / "etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--log-level=warn",
        f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}"])
    server = start(stack, folder, "kube-apiserver", [
        programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", "--bind-address=127.0.0.1",
        f"--secure-port={port}", f"--cert-dir={folder}/certificates", "--authorization-mode=Node,RBAC", "--allow-privileged=true", "--enable-admission-plugins=NodeRestriction",
        "--service-cluster-ip-range=10.0.0.0/24", f"--token-auth-file={folder}/users.csv", *keys])
    ready(server, f"https://127.0.0.1:{port}")
    return f"https://127.0.0.1:{port}"


def tokensmith(stack, folder, binary):
    """Starts tokensmith; gives its URL."""
    port = free_port()
    server = start(stack, folder, "tokensmith", [
        binary, "serve", f"--data-dir={folder}/tokensmith", f"--kubeconfig={folder}/kubeconfig", f"--secure-port={port}", f"--token-auth-file={folder}/users.csv",
        f"--service-account-issuer={ISSUER}", f"--api-audiences={AUDIENCES}", f"--service-account-signing-key-file={folder}/key.pem"])
    ready(server, f"https://127.0.0.1:{port}")
    return f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def both(binary, programs, keep=None):
    """(kube-apiserver's URL, tokensmith's URL), as long as the context lasts; logs stay in `keep` if it is given."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(keep or tempfile.mkdtemp(prefix="differ-"))
        folder.mkdir(parents=True, exist_ok=True)
        if not keep:
            stack.callback(shutil.rmtree, folder, True)
        users = folder / "users.csv"
        users.write_text(USERS)
        key = folder / "key.pem"
        shutil.copy(ROOT / "keys/rsa2048.pem", key)
        for secret in (users, key):
            secret.chmod(0o600)
        keys = [f"--service-account-issuer={ISSUER}", f"--api-audiences={AUDIENCES}", f"--service-account-signing-key-file={key}",
                f"--service-account-key-file={key}", f"--service-account-jwks-uri={ISSUER}/openid/v1/jwks"]
        yield kubernetes(stack, folder, pathlib.Path(programs), keys), tokensmith(stack, folder, binary)
