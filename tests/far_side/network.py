"""Far sides of the network itself: a port that notes who came, a DNS server that changes its mind."""

import socket
import threading
from contextlib import contextmanager

import dns.message
import dns.rrset


@contextmanager
def listener():
    """A socket that notes whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)

        def came():
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield server.getsockname()[1], came


class Resolver:
    """A DNS server that gives each question the next of its answers."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.at = "{}:{}".format(*self.socket.getsockname())

    def __enter__(self):
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()

    def _serve(self):
        while True:
            data, sender = self.socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            question = query.question[0]
            if question.rdtype == 1:
                addresses = self.answers[min(self.asked, len(self.answers) - 1)]
                self.asked += 1
                if addresses:
                    answer.answer.append(dns.rrset.from_text(question.name, 0, "IN", "A", *addresses))
            self.socket.sendto(answer.to_wire(), sender)
