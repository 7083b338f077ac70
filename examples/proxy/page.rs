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
        ACCEPT, ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
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

/// Which answers may be pages.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// A window or tab asks for a page.
    Page,
    /// A script or a service worker does, perhaps for a part of one.
    PageOrPart,
    Other,
}

impl Asked {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        let accepts_pages = || {
            let accept = headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
            accept.windows(9).any(|kind| kind.eq_ignore_ascii_case(b"text/html"))
        };
        match headers.get("sec-fetch-dest").map(HeaderValue::as_bytes) {
            Some(b"document") => Self::Page,
            Some(b"empty") | None if !accepts_pages() || is_for_a_part(headers) => Self::Other,
            Some(b"empty") => Self::PageOrPart,
            Some(_) => Self::Other,
            // A browser from before 2020, or a program.
            None => Self::Page,
        }
    }
}

fn is_for_a_part(headers: &HeaderMap) -> bool {
    headers.contains_key("x-requested-with") || headers.contains_key("hx-request")
}

/// The application is to send a page as it is, and to say whether it has changed of the copy that has the script alone.
pub(crate) fn ask_for_page(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    let own: Vec<String> = tags
        .flat_map(|field| field.split(','))
        .filter_map(|tag| Some(format!("{}\"", tag.trim().strip_suffix(MARK)?)))
        .collect();
    headers.remove(IF_NONE_MATCH);
    if let Ok(own) = HeaderValue::try_from(own.join(", "))
        && !own.is_empty()
    {
        headers.insert(IF_NONE_MATCH, own);
    }
}

/// At the end of the `ETag` of a page with the script.
const MARK: &str = ";session-timeout\"";

impl PageScript {
    /// Puts the script into the answer, if that is a page.
    pub(crate) fn put_into(
        &self,
        method: &Method,
        asked: Asked,
        answer: Response<WithoutTrailers>,
    ) -> Response<Page> {
        let (mut head, body) = answer.into_parts();
        if is_html(&head.headers) {
            // What a browser keeps of one is no answer to the other.
            head.headers.append(
                VARY,
                HeaderValue::from_static("sec-fetch-dest, accept, x-requested-with, hx-request"),
            );
        }
        let Some(encoding) = encoding_of_page(&head).filter(|_| asked != Asked::Other) else {
            if head.status == StatusCode::NOT_MODIFIED && asked != Asked::Other {
                mark_etag(&mut head.headers);
            }
            return Response::from_parts(head, Page::Untouched(body));
        };
        let tag = self.tag(nonce(&head.headers).as_deref());
        for name in
            ["content-length", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest"]
        {
            head.headers.remove(name);
        }
        mark_etag(&mut head.headers);
        if *method == Method::HEAD {
            return Response::from_parts(head, Page::Untouched(body));
        }
        let page = Changed::new(body, self.rewriter(tag, asked, encoding));
        Response::from_parts(head, Page::Changed(Box::new(page)))
    }

    fn tag(&self, nonce: Option<&str>) -> String {
        html! { script src=(self.path) defer nonce=[nonce] data-login-url=[&self.login_path] {} }
            .into_string()
    }

    fn rewriter(
        &self,
        tag: String,
        asked: Asked,
        encoding: AsciiCompatibleEncoding,
    ) -> impl FnOnce(Output) -> Rewriter {
        let is_begun = Arc::new(AtomicBool::new(false));
        let is_begun_at_end = Arc::clone(&is_begun);
        let tag_at_end = tag.clone();
        let draft_forms = self.draft_forms.clone();
        move |output| {
            let mut settings = Settings::new_send().with_strict(false).with_encoding(encoding);
            // First of all: whatever comes later may change what addresses mean, or be no part of the page.
            settings =
                settings.append_element_content_handler(element!("*", move |first: &mut Element<'_, '_>| {
                    if first.tag_name() == "html" || is_begun.swap(true, Relaxed) {
                        return Ok(());
                    }
                    if first.tag_name() == "head" {
                        first.prepend(&tag, ContentType::Html);
                    } else if asked == Asked::Page {
                        // A head has not to be written.
                        first.before(&tag, ContentType::Html);
                    }
                    Ok(())
                }));
            settings = settings.append_document_content_handler(end!(move |end| {
                if !is_begun_at_end.load(Relaxed) && asked == Asked::Page {
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

fn is_html(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("text/html"))
}

/// With its parameters.
fn content_type(headers: &HeaderMap) -> Option<(String, String)> {
    let field = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let (kind, parameters) = field.split_once(';').unwrap_or((&field, ""));
    Some((kind.trim().to_owned(), parameters.to_owned()))
}

/// `None`: it is no page, no whole one, or is not readable as it comes.
fn encoding_of_page(head: &Parts) -> Option<AsciiCompatibleEncoding> {
    let is_whole = !matches!(
        head.status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
    );
    let is_plain = head
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.is_empty() || coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    // It is saved, not shown.
    let is_shown = head.headers.get(CONTENT_DISPOSITION).is_none_or(|disposition| {
        !disposition.as_bytes().trim_ascii().to_ascii_lowercase().starts_with(b"attachment")
    });
    if !is_whole || !is_plain || !is_shown || !is_html(&head.headers) {
        return None;
    }
    let (_, parameters) = content_type(&head.headers)?;
    let charset =
        parameters.split(';').filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
    match charset.and_then(|charset| Encoding::for_label(charset.as_bytes())) {
        Some(encoding) => AsciiCompatibleEncoding::new(encoding),
        // The page may say so itself. What is put in is ASCII, and all else goes on as it is.
        None => Some(AsciiCompatibleEncoding::utf_8()),
    }
}

/// What the page's policy wants to see on a script.
fn nonce(headers: &HeaderMap) -> Option<String> {
    let policies = headers.get_all(CONTENT_SECURITY_POLICY).iter().filter_map(|policy| policy.to_str().ok());
    policies.flat_map(|policies| policies.split(',')).find_map(nonce_of_policy)
}

/// Of the directives that scripts go by, the first one there is counts (CSP 3, §6.8).
fn nonce_of_policy(policy: &str) -> Option<String> {
    let directive = |wanted: &str| {
        policy.split(';').find_map(|directive| {
            let mut words = directive.split_ascii_whitespace();
            words.next().filter(|name| name.eq_ignore_ascii_case(wanted)).map(|_| words)
        })
    };
    let mut sources = directive("script-src-elem")
        .or_else(|| directive("script-src"))
        .or_else(|| directive("default-src"))?;
    sources.find_map(|source| {
        let (scheme, nonce) = source.strip_suffix('\'')?.split_at_checked("'nonce-".len())?;
        scheme.eq_ignore_ascii_case("'nonce-").then(|| nonce.to_owned())
    })
}

/// What is sent is not that of the application (RFC 9110 §8.8.3).
fn mark_etag(headers: &mut HeaderMap) {
    let Some(etag) = headers.get(ETAG).and_then(|etag| etag.to_str().ok()) else { return };
    let tag = etag.strip_prefix("W/").unwrap_or(etag).strip_suffix('"');
    let marked = tag.and_then(|tag| HeaderValue::try_from(format!("W/{tag}{MARK}")).ok());
    if let Some(marked) = marked {
        headers.insert(ETAG, marked);
    } else {
        headers.remove(ETAG);
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
    is_begun: bool,
    /// It is in UTF-16, whatever its header says.
    is_untouched: bool,
}

impl Changed {
    fn new(body: WithoutTrailers, rewriter: impl FnOnce(Output) -> Rewriter) -> Self {
        let output = Output::default();
        let rewriter = Some(rewriter(output.clone()));
        Self { body, rewriter, output, is_begun: false, is_untouched: false }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_untouched {
            return Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into);
        }
        loop {
            let written = self.output.take();
            if !written.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(written.into()))));
            }
            let Some(rewriter) = &mut self.rewriter else { return Poll::Ready(None) };
            let done = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    if !self.is_begun && (data.starts_with(b"\xff\xfe") || data.starts_with(b"\xfe\xff")) {
                        self.is_untouched = true;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    self.is_begun |= !data.is_empty();
                    rewriter.write(&data)
                }
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
