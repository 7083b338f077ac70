"""Django with a form that has a token against forged ones. It knows nothing of timeouts, but says who is signed in."""

from django.http import HttpResponse
from django.middleware.csrf import get_token, rotate_token
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import escape
from django.utils.http import url_has_allowed_host_and_scheme
from django_site import configure, serve

saved = {}


def with_token(request, fields):
    token = f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
    return HttpResponse(f'<form method="post">{token}{fields}<button>Save</button></form>')


def login(request):
    if request.method != "POST":
        return with_token(request, '<input name="user">')
    request.session.flush()
    request.session["user"] = request.POST["user"]
    # As django.contrib.auth does.
    rotate_token(request)
    to = request.GET.get("next", "")
    return redirect(to if url_has_allowed_host_and_scheme(to, allowed_hosts=None) else "/notes")


def notes(request):
    user = request.session.get("user")
    if user is None:
        return redirect("/login?next=/notes")
    if request.method == "POST":
        saved[user] = request.POST["text"]
        return redirect("/notes")
    return with_token(request, f'<textarea name="text">\n{escape(saved.get(user, ""))}</textarea>')


def say_who(get_response):
    def middleware(request):
        response = get_response(request)
        if "user" in request.session:
            response["X-User"] = request.session["user"]
        return response

    return middleware


urlpatterns = [path("login", login), path("notes", notes)]

if __name__ == "__main__":
    configure("__main__.say_who", "django.middleware.csrf.CsrfViewMiddleware")
    serve()
