//! The script that warns users, put into the pages of an application that knows nothing of it.

use std::{
    borrow::Cow,
    error::Error,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use encoding_rs::Encoding;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, ETAG,
    },
    response::Parts,
};
use hyper::body::{Body, Frame};
use lol_html::{
    AsciiCompatibleEncoding, Selector, element, end,
    html_content::ContentType,
    send::{Element, HtmlRewriter, Settings},
};
use maud::html;

use crate::bodies::WithoutTrailers;

type BoxError = Box<dyn Error + Send + Sync>;

/// What every page gets.
pub(crate) struct PageScript {
    pub(crate) path: String,
    pub(crate) login_path: Option<String>,
    /// Which forms get drafts.
    pub(crate) draft_forms: Option<Selector>,
}

/// Whether a request asks for a page, in a window or tab of its own: not for a part of one that a script fetches, nor for a frame.
pub(crate) fn asks_for_page(headers: &HeaderMap) -> bool {
    if let Some(dest) = headers.get("sec-fetch-dest") {
        return dest == "document";
    }
    let accept = headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    accept.windows(9).any(|kind| kind.eq_ignore_ascii_case(b"text/html"))
        && !headers.contains_key("x-requested-with")
        && !headers.contains_key("hx-request")
}

/// A page is changed as it comes: the application is to send it as it is.
pub(crate) fn ask_for_plain_text(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

impl PageScript {
    /// Puts the script into the answer, if that is a page.
    pub(crate) fn put_into(&self, method: &Method, answer: Response<WithoutTrailers>) -> Response<Page> {
        let (mut head, body) = answer.into_parts();
        let Some(encoding) = encoding_of_page(&head) else {
            return Response::from_parts(head, Page::Untouched(body));
        };
        let tag = self.tag(nonce(&head.headers).as_deref());
        for name in [CONTENT_LENGTH, ACCEPT_RANGES] {
            head.headers.remove(name);
        }
        for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
            head.headers.remove(name);
        }
        weaken_etag(&mut head.headers);
        if *method == Method::HEAD {
            return Response::from_parts(head, Page::Untouched(body));
        }
        let page = Changed::new(body, self.rewriter(tag, encoding));
        Response::from_parts(head, Page::Changed(Box::new(page)))
    }

    fn tag(&self, nonce: Option<&str>) -> String {
        html! { script src=(self.path) defer nonce=[nonce] data-login-url=[&self.login_path] {} }
            .into_string()
    }

    fn rewriter(&self, tag: String, encoding: AsciiCompatibleEncoding) -> impl FnOnce(Output) -> Rewriter {
        let is_there = Arc::new(AtomicBool::new(false));
        let (tag, is_there_at_end) = (Arc::new(tag), Arc::clone(&is_there));
        let tag_at_end = Arc::clone(&tag);
        let draft_forms = self.draft_forms.clone();
        move |output| {
            let mut settings = Settings::new_send().with_strict(false).with_encoding(encoding);
            settings =
                settings.append_element_content_handler(element!("head", move |head: &mut Element<
                    '_,
                    '_,
                >| {
                    if !is_there.swap(true, Relaxed) {
                        head.prepend(&tag, ContentType::Html);
                    }
                    Ok(())
                }));
            // Neither start nor end of a head has to be written.
            settings = settings.append_document_content_handler(end!(move |end| {
                if !is_there_at_end.load(Relaxed) {
                    end.append(&tag_at_end, ContentType::Html);
                }
                Ok(())
            }));
            if let Some(forms) = draft_forms {
                let mark = lol_html::send::ElementContentHandlers::default().element(mark_form);
                settings = settings.append_element_content_handler((Cow::Owned(forms), mark));
            }
            HtmlRewriter::new(settings, Box::new(move |chunk: &[u8]| output.add(chunk)))
        }
    }
}

/// A draft is of one form of a page.
fn mark_form(form: &mut Element<'_, '_>) -> lol_html::HandlerResult {
    const DRAFT: &str = "data-session-draft";
    if !form.has_attribute(DRAFT) {
        let key = form.get_attribute("id").or_else(|| form.get_attribute("name"));
        form.set_attribute(DRAFT, key.as_deref().filter(|key| !key.is_empty()).unwrap_or("form"))?;
    }
    Ok(())
}

/// `None`: it is no page, no whole one, or is not readable as it comes.
fn encoding_of_page(head: &Parts) -> Option<AsciiCompatibleEncoding> {
    let is_whole = !matches!(
        head.status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    );
    let is_plain = head.headers.get(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    let content_type = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !is_whole || !is_plain || !kind.trim().eq_ignore_ascii_case("text/html") {
        return None;
    }
    let charset =
        parameters.split(';').filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
    match charset {
        Some(charset) => AsciiCompatibleEncoding::new(Encoding::for_label(charset.as_bytes())?),
        // The page may say so itself. What is put in is ASCII, and all else goes on as it is.
        None => Some(AsciiCompatibleEncoding::utf_8()),
    }
}

/// What the page's policy wants to see on a script.
fn nonce(headers: &HeaderMap) -> Option<String> {
    let policies = headers.get_all(CONTENT_SECURITY_POLICY).iter().filter_map(|policy| policy.to_str().ok());
    let mut directives = policies.flat_map(|policy| policy.split([';', ','])).map(str::trim);
    directives.find_map(|directive| {
        let mut words = directive.split_ascii_whitespace();
        words.next().filter(|name| ["script-src", "script-src-elem", "default-src"].contains(name))?;
        words.find_map(|source| Some(source.strip_prefix("'nonce-")?.strip_suffix('\'')?.to_owned()))
    })
}

/// What is sent is no longer that of the application, byte for byte (RFC 9110 §8.8.1).
fn weaken_etag(headers: &mut HeaderMap) {
    if let Some(etag) = headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
}

/// An application's body, with the script in it if it is a page.
pub(crate) enum Page {
    Untouched(WithoutTrailers),
    Changed(Box<Changed>),
}

type Rewriter = HtmlRewriter<'static, Box<dyn FnMut(&[u8]) + Send>>;

/// What the rewriter has written and nobody has sent yet.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn add(&self, chunk: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(chunk);
    }

    fn take(&self) -> Vec<u8> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A page, changed as it comes.
pub(crate) struct Changed {
    body: WithoutTrailers,
    /// `None`: it is at its end.
    rewriter: Option<Rewriter>,
    output: Output,
}

impl Changed {
    fn new(body: WithoutTrailers, rewriter: impl FnOnce(Output) -> Rewriter) -> Self {
        let output = Output::default();
        Self { body, rewriter: Some(rewriter(output.clone())), output }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let written = self.output.take();
            if !written.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(written.into()))));
            }
            let Some(rewriter) = &mut self.rewriter else { return Poll::Ready(None) };
            let done = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| rewriter.write(&data)),
                Some(Err(error)) => {
                    self.rewriter = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => self.rewriter.take().map_or(Ok(()), HtmlRewriter::end),
            };
            if let Err(error) = done {
                self.rewriter = None;
                return Poll::Ready(Some(Err(error.into())));
            }
        }
    }
}

impl Body for Page {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Untouched(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Changed(page) => page.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Untouched(body) => body.is_end_stream(),
            Self::Changed(_) => false,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Untouched(body) => body.size_hint(),
            Self::Changed(_) => hyper::body::SizeHint::default(),
        }
    }
}
