"""Requests as clients send them that are not well-behaved: libraries put them right, or refuse them."""

import http.client
import socket

from programs import PATIENCE


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def __str__(self):
        return f"{self.status} {self.headers['location'] or ''} {self.text!r}"

    def is_signed_in_as(self, user):
        return self.status == 200 and f"signed in as {user}" in self.text


def ask(address, method, path, headers, body=None):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request(method, path, body, headers)
    return Answer(connection.getresponse())


def ask_raw(address, fields):
    """http.client refuses most of the spellings."""
    host, port = address.split(":")
    head = [b"GET /account HTTP/1.1", b"Host: 127.0.0.1", b"Accept: text/html", b"Connection: close", *fields]
    with socket.create_connection((host, port), PATIENCE) as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))
