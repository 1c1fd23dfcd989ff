"""Does with a projected token what an application written in Python does: uses.py FILE URL; the CA is in $CA_FILE."""

import os
import ssl
import sys
import urllib.request


def current_token(path):
    """The file is replaced while the program runs: it is read whenever the token is needed."""
    with open(path) as file:
        return file.read().strip()


path, url = sys.argv[1:]
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {current_token(path)}"})
tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
with urllib.request.urlopen(request, context=tls, timeout=20) as answer:
    sys.stdout.write(answer.read().decode())
