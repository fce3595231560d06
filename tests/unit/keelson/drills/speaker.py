"""In the place of a member: tells every other member its name again and again, each over a connection of its own, and logs whom it heard."""

import socket
import sys
import threading
import time
from urllib.parse import SplitResult, urlsplit

PERIOD_S = 0.01


def main() -> None:
    flags = dict(word.split("=", 1) for word in sys.argv[1:])
    here = urlsplit(flags["--listen-peer-urls"])
    listener = socket.create_server((here.hostname, here.port))
    for peer in flags["--initial-cluster"].split(","):
        name, url = peer.split("=", 1)
        if name != flags["--name"]:
            threading.Thread(target=tell, args=(urlsplit(url), flags["--name"])).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=hear, args=(connection,)).start()


def tell(where: SplitResult, name: str) -> None:
    while True:
        try:
            with socket.create_connection((where.hostname, where.port)) as connection:
                while True:
                    connection.sendall(f"{name}\n".encode())
                    time.sleep(PERIOD_S)
        except OSError:
            time.sleep(PERIOD_S)


def hear(connection: socket.socket) -> None:
    for line in connection.makefile():
        print("heard", line, end="", flush=True)


main()
