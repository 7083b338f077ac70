"""Django in one file, with its own sessions in files: the cookie is a random id, another one after each log-in."""

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import escape
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.http import require_POST
from django_site import configure, serve


def home(request):
    return HttpResponse(escape(f"Hello, {request.session.get('user', 'visitor')}"))


def login(request):
    if request.method != "POST":
        return HttpResponse('<form method="post"><input name="user"><button>Sign in</button></form>')
    request.session.flush()
    request.session["user"] = request.POST["user"]
    to = request.GET.get("next", "")
    return redirect(to if url_has_allowed_host_and_scheme(to, allowed_hosts=None) else "/account")


def account(request):
    if "user" not in request.session:
        return redirect("/login?" + urlencode({"next": request.get_full_path()}))
    return HttpResponse(escape(f"signed in as {request.session['user']}"))


@require_POST
def logout(request):
    request.session.flush()
    return redirect("/")


urlpatterns = [
    path("", home),
    path("login", login),
    path("account", account),
    path("logout", logout),
]

if __name__ == "__main__":
    configure()
    serve()
