"""Run the embedded API server in the foreground: `python -m vaultprov.devenv.kube_api`.

One line of JSON on stdout tells a parent process that it is ready and how to reach it; SIGTERM or
SIGINT ends it.
"""

import argparse
import json
import os
import signal
import sys

from vaultprov.devenv.kube_api import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vaultprov.devenv.kube_api")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    port = parser.parse_args().port
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts, so that none but sigwait() receives them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with serve(port=port) as api:
        ready = {
            "server": api.server,
            "ca_pem": api.ca_pem,
            "token": api.admin_token,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
