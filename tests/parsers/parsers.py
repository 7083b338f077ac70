"""What Python's parsers read: for each line `NAME<tab>HEX OF A COOKIE FIELD` on the standard input a line of the hex of
each value that any of them finds under that name, as `PARSER:HEX`, between tabs.
"""

import sys
from http.cookies import CookieError, SimpleCookie

from aiohttp._cookie_helpers import parse_cookie_header
from django.http.cookie import parse_cookie as django_parse
from starlette.requests import cookie_parser
from webob.cookies import parse_cookie as webob_parse
from werkzeug.sansio.http import parse_cookie as werkzeug_parse


def simple_cookie(field):
    cookies = SimpleCookie()
    try:
        cookies.load(field)
    except CookieError:
        pass
    return [(name, morsel.value) for name, morsel in cookies.items()]


def webob(field):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in webob_parse(field)]


def aiohttp(field):
    return [(name, morsel.value) for name, morsel in parse_cookie_header(field)]


# WSGI hands out Latin-1, which some then take for UTF-8; ASGI servers and aiohttp decode by themselves.
def as_utf8(field):
    return field.encode("latin-1").decode("utf-8", "replace")


PARSERS = {
    "SimpleCookie": simple_cookie,
    "SimpleCookie, UTF-8": lambda field: simple_cookie(as_utf8(field)),
    "Django": lambda field: django_parse(field).items(),
    "Django, UTF-8": lambda field: django_parse(as_utf8(field)).items(),
    "Starlette": lambda field: cookie_parser(field).items(),
    "WebOb": webob,
    "Werkzeug": lambda field: werkzeug_parse(field).items(multi=True),
    "Werkzeug, UTF-8": lambda field: werkzeug_parse(as_utf8(field)).items(multi=True),
    "aiohttp": aiohttp,
    "aiohttp, UTF-8": lambda field: aiohttp(as_utf8(field)),
}

for line in sys.stdin:
    name, field = line.rstrip("\n").split("\t")
    field = bytes.fromhex(field).decode("latin-1")
    found = [
        f"{parser}:{value.encode('utf-8', 'surrogateescape').hex()}"
        for parser, parse in PARSERS.items()
        for key, value in parse(field)
        if key == name
    ]
    print("\t".join(found))
