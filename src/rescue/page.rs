//! The page with a form that was not sent: plain HTML, for it has to work without a script.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::{
    request::head::RequestHead,
    rescue::{
        Rescue,
        form::{LateForm, Lost, pairs},
        kept::Forms,
        text::{RescueText, Texts},
    },
    respond::{self, body::RefusalBody},
};

/// Where things are, whoever styles them.
const LAYOUT: &str = "\
dd{margin:.25rem 0 1rem}\
textarea{box-sizing:border-box;width:100%;field-sizing:content;max-height:20rem}\
.choices{display:flex;flex-wrap:wrap;gap:1rem;align-items:center;margin:1.5rem 0}\
.choices form{margin:0}";

/// How they look, where the application has no stylesheet for them.
const LOOK: &str = "\
:root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}\
body{max-width:40rem;margin:0 auto;padding:1.5rem 1rem;background:#fff;color:#1d2530}\
a{color:#1b4fb3}\
@media (prefers-color-scheme:dark){body{background:#14181e;color:#e4e8ee}a{color:#8db4ff}}\
h1{font-size:1.5rem;line-height:1.25}\
dt{font-weight:600;overflow-wrap:anywhere}\
textarea{font:inherit;padding:.5rem}\
li{overflow-wrap:anywhere}\
button{font:inherit;padding:.5rem 1rem;min-height:2.75rem;cursor:pointer}\
.choices form:first-child button{font-weight:600}\
a{display:inline-block;padding:.5rem 0}";

/// Of the page's own styles.
static HASHES: LazyLock<String> = LazyLock::new(|| {
    [LAYOUT, LOOK].map(|style| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(style)))).join(" ")
});

/// What a request for the page asks, as far as its answer needs it.
pub(crate) struct Asked {
    /// The id of a form.
    pub(crate) form: Option<String>,
    texts: Texts,
    /// The application's new token, and the field it is in.
    token: Option<(String, String)>,
}

impl Rescue {
    pub(crate) fn asked(&self, head: &RequestHead<'_>) -> Asked {
        let token = self.csrf.as_ref().and_then(|(field, fresh)| Some((field.clone(), fresh(head)?)));
        Asked {
            form: form_named(head.uri().query()),
            texts: Texts::of(self.translate.as_ref().map(|translate| (head, translate))),
            token,
        }
    }

    /// Where one form is shown.
    pub(crate) fn page_of(&self, form: &LateForm) -> String {
        format!("{}?form={}", self.page, form.id)
    }

    /// The form that is asked for; `None`: there is none, or not that one.
    pub(crate) fn show(&self, asked: &Asked, forms: &Forms) -> Response<RefusalBody> {
        let at = forms.all.iter().position(|form| Some(&form.id) == asked.form.as_ref());
        let Some(at) = at else { return self.nothing(&asked.texts) };
        let form = &forms.all[at];
        let next = forms.all.iter().cycle().nth(at + 1).filter(|next| next.id != form.id);
        self.document(StatusCode::OK, &asked.texts, RescueText::Title, &self.one(asked, form, next))
    }

    fn one(&self, asked: &Asked, form: &LateForm, next: Option<&LateForm>) -> Markup {
        let text = |text| asked.texts.get(text);
        let token = asked.token.as_ref().map(|(field, token)| (field.as_str(), token.as_str()));
        let value = |name: &str, value: &str| match token {
            Some((field, token)) if field == name => token.to_owned(),
            _ => value.to_owned(),
        };
        html! {
            p { (text(RescueText::Explanation)) }
            @if form.sent.is_some() { p role="alert" { (text(RescueText::Unanswered)) } }
            (fields(form, token.map(|(field, _)| field)))
            (names(text(RescueText::Secrets), &form.secrets))
            (names(text(RescueText::Files), &form.files))
            div.choices {
                form method="post" action=(form.action) enctype=[form.is_multipart.then_some("multipart/form-data")] {
                    @for (name, kept) in &form.fields {
                        input type="hidden" name=(name) value=(value(name, kept));
                    }
                    button { (text(RescueText::Send)) }
                }
                form method="post" action=(self.page_of(form)) { button { (text(RescueText::Discard)) } }
            }
            @if let Some(page) = &form.page { p { a href=(page) { (text(RescueText::Open)) } } }
            @if let Some(next) = next { p { a href=(self.page_of(next)) { (text(RescueText::Next)) } } }
        }
    }

    fn nothing(&self, texts: &Texts) -> Response<RefusalBody> {
        let body = html! { p { a href="/" { (texts.get(RescueText::GoOn)) } } };
        self.document(StatusCode::OK, texts, RescueText::Nothing, &body)
    }

    /// Its user reads this instead of the log-in page, and may copy what could not be kept.
    pub(crate) fn lost(
        &self,
        texts: &Texts,
        lost: Lost,
        form: Option<&LateForm>,
        login: Option<&str>,
    ) -> Response<RefusalBody> {
        let (status, why) = match lost {
            Lost::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, RescueText::TooLarge),
            Lost::TooManyFields | Lost::Unreadable => (StatusCode::BAD_REQUEST, RescueText::Unreadable),
            Lost::TooManyForms => (StatusCode::CONFLICT, RescueText::TooManyForms),
            Lost::NoRoom | Lost::StoreFailed => (StatusCode::SERVICE_UNAVAILABLE, RescueText::Failed),
            Lost::OfNobody | Lost::SessionEnded => (StatusCode::FORBIDDEN, RescueText::NotKept),
        };
        let why = texts.get(why).replace("{size}", &(self.limit >> 10).to_string());
        let advice = if form.is_some() { RescueText::CopyIt } else { RescueText::GoBack };
        let body = html! {
            p { strong { (why) } " " (texts.get(advice)) }
            @if let Some(form) = form {
                (fields(form, self.csrf.as_ref().map(|(field, _)| field.as_str())))
                (names(texts.get(RescueText::Secrets), &form.secrets))
                (names(texts.get(RescueText::Files), &form.files))
            }
            @if let Some(login) = login { p { a href=(login) { (texts.get(RescueText::SignIn)) } } }
        };
        self.document(status, texts, RescueText::LostTitle, &body)
    }

    fn document(
        &self,
        status: StatusCode,
        texts: &Texts,
        title: RescueText,
        body: &Markup,
    ) -> Response<RefusalBody> {
        let title = texts.get(title);
        let page = html! {
            (DOCTYPE)
            html lang=(texts.get(RescueText::Language)) {
                head {
                    meta charset="utf-8";
                    // Stronger than a header of somebody further out: by the referrer it is known what is sent from here.
                    meta name="referrer" content="same-origin";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(LAYOUT)) }
                    @match &self.stylesheet {
                        Some(stylesheet) => link rel="stylesheet" href=(stylesheet);,
                        None => style { (PreEscaped(LOOK)) },
                    }
                }
                body { main { h1 { (title) } (body) } }
            }
        };
        let mut response = Response::new(RefusalBody::text(Bytes::from(page.into_string())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        // The application's stylesheet may bring its images and fonts from wherever it likes.
        let policy = match &self.stylesheet {
            Some(_) => {
                "script-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'".to_owned()
            }
            None => {
                format!("default-src 'none'; style-src {}; base-uri 'none'; frame-ancestors 'none'", *HASHES)
            }
        };
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("visible ASCII"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        // By which a form that is sent from here is known.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        respond::protect(headers);
        response
    }
}

/// To be read, and copied.
fn fields(form: &LateForm, but: Option<&str>) -> Markup {
    html! {
        dl {
            @for (at, (name, value)) in form.fields.iter().enumerate() {
                @if but != Some(name.as_str()) {
                    dt { label for={ "f" (at) } dir="auto" { (name) } }
                    // A line break at its beginning would be lost.
                    dd { textarea id={ "f" (at) } dir="auto" readonly rows=(rows(value)) { "\n" (value) } }
                }
            }
        }
    }
}

fn rows(value: &str) -> usize {
    value.lines().count().clamp(1, 12)
}

fn names(text: &str, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            p { (text) }
            ul { @for name in names { li { (name) } } }
        }
    }
}

/// Which form a query names.
pub(crate) fn form_named(query: Option<&str>) -> Option<String> {
    pairs(query?.as_bytes())?.into_iter().find(|(name, _)| name == "form").map(|(_, id)| id)
}
