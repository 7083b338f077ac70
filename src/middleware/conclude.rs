//! Conclude: the answer as it leaves.

#[cfg(feature = "rescue")]
use crate::client::keep_private;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use http_body::Body;

use crate::{
    cookie::{CookieSource, Parts},
    middleware::{
        admitted::{Admitted, RequestSession},
        body::SessionBody,
        plan::{Leaving, LeavingCookies, Outcome},
        session::until_ended,
    },
    respond::{
        self,
        caching::{is_for_shared_caches, keep_from_shared_caches},
    },
};

impl Admitted {
    /// The answer as it leaves.
    pub(crate) fn conclude<P: Body<Data = Bytes>>(
        &self,
        response: Response<P>,
        leaving: &Leaving,
        outcome: Outcome,
    ) -> Response<SessionBody<P>> {
        let refusal = match outcome {
            Outcome::Unavailable => Some(respond::unavailable()),
            Outcome::TooManySessions => Some(respond::too_many_sessions()),
            Outcome::Pass | Outcome::DropCookie | Outcome::RemoveCookie => None,
        };
        if let Some(refusal) = refusal {
            let refusal = if self.is_head { respond::without_body(refusal) } else { refusal };
            return refusal.map(SessionBody::refusal);
        }
        let mut response = self.with_body(response);
        #[cfg(feature = "client")]
        if let (Some(client), Some(info)) = (&self.store.config.client, &self.page_info)
            && leaving.goes_on
            && outcome == Outcome::Pass
            && !self.has_ended_itself()
        {
            let status = response.status();
            client.tell(response.headers_mut(), status, info);
        }
        #[cfg(feature = "rescue")]
        self.introduce(leaving, outcome, response.headers_mut());
        if let Some(cookie) = self.store.config.source.cookie() {
            let headers = response.headers_mut();
            self.write_cookies(cookie, headers, &leaving.cookies, outcome);
            if self.store.leaves_records() {
                self.leave_record(leaving, outcome, headers);
            }
        }
        response
    }

    /// Lets the browser know whose its session is, as long as it has one.
    #[cfg(feature = "rescue")]
    fn introduce(&self, leaving: &Leaving, outcome: Outcome, headers: &mut HeaderMap) {
        let Some(rescue) = &self.store.config.rescue else { return };
        let has_ended_itself = self.has_ended_itself();
        let is_live = matches!(self.session, RequestSession::Live { .. });
        let begins = matches!(leaving.cookies, LeavingCookies::Set(_)) && !(is_live && leaving.goes_on);
        match (outcome, &leaving.cookies) {
            (Outcome::Pass, _) if begins => match &leaving.owner {
                Some(owner) => rescue.introduce(owner, headers),
                // What comes from there is not for whoever was there before.
                None => rescue.cookies.remove_from_browser(headers),
            },
            (Outcome::RemoveCookie, _) | (_, LeavingCookies::Removed) => {
                rescue.cookies.remove_from_browser(headers);
            }
            _ if has_ended_itself => rescue.cookies.remove_from_browser(headers),
            (Outcome::Pass, _) if leaving.goes_on => {
                let owner = self.page_info.as_ref().and_then(|info| info.unintroduced.as_ref());
                let Some(owner) = owner.filter(|_| keep_private(headers)) else { return };
                rescue.introduce(owner, headers);
            }
            _ => return,
        }
        keep_from_shared_caches(headers);
    }

    fn write_cookies(
        &self,
        cookie: &CookieSource,
        headers: &mut HeaderMap,
        leaving: &LeavingCookies,
        outcome: Outcome,
    ) {
        match (outcome, leaving) {
            (Outcome::RemoveCookie, _) => {
                cookie.let_none_leave(headers);
                remove_from_browser(cookie, headers, self.client_cookies().parts);
            }
            (Outcome::DropCookie | Outcome::Unavailable | Outcome::TooManySessions, _) => {
                cookie.let_none_leave(headers);
            }
            (Outcome::Pass, LeavingCookies::Set(_)) => cookie.let_set_leave(headers, self.client_cookies()),
            (Outcome::Pass, LeavingCookies::Removed) => {
                cookie.let_removed_leave(headers, self.client_cookies());
            }
            (Outcome::Pass, LeavingCookies::Renewed) => {
                if let Some(renewed) = self.renewed_cookie() {
                    for cookie in &renewed.set_cookies {
                        headers.append(SET_COOKIE, cookie.clone());
                    }
                    keep_from_shared_caches(headers);
                }
            }
            (Outcome::Pass, LeavingCookies::Untouched) => {
                if matches!(self.session, RequestSession::Stripped { forget_cookie: true }) {
                    remove_from_browser(cookie, headers, self.client_cookies().parts);
                }
            }
        }
    }

    /// Of a store whose records are left with the clients.
    fn leave_record(&self, leaving: &Leaving, outcome: Outcome, headers: &mut HeaderMap) {
        let set = match (outcome, &leaving.cookies) {
            // Removed, with the session cookie.
            (Outcome::RemoveCookie, _) => return,
            (Outcome::Pass, LeavingCookies::Set(id)) => Some(id),
            _ if leaving.goes_on && is_for_shared_caches(headers) => return,
            _ if matches!(self.session, RequestSession::Live { .. }) => None,
            _ => return,
        };
        if self.store.leave_with_client(set, headers) {
            keep_from_shared_caches(headers);
        }
    }

    /// The answer, its body cut at the session's end if it is a stream that was asked to be.
    #[inline]
    fn with_body<P: Body<Data = Bytes>>(&self, response: Response<P>) -> Response<SessionBody<P>> {
        if self.store.config.end_streams.is_empty() {
            return response.map(SessionBody::application);
        }
        let outer = self.rare.as_ref().and_then(|rare| rare.outer.as_ref());
        let (store, key, policy) = match (self.session, outer) {
            (RequestSession::Live { key, .. }, _) => (&self.store, key, self.store.config.policy),
            (RequestSession::Outer, Some(outer)) => (&outer.store, outer.live.key, outer.policy()),
            _ => return response.map(SessionBody::application),
        };
        let mut kinds = response.headers().get_all(CONTENT_TYPE).iter();
        let content_type = kinds.find(|kind| self.store.config.ends_streams_of(kind));
        let has_length =
            response.body().size_hint().exact().is_some() || response.headers().contains_key(CONTENT_LENGTH);
        if content_type.is_none() || has_length {
            return response.map(SessionBody::application);
        }
        let is_grpc = content_type.is_some_and(|kind| respond::is_of_type(kind, respond::GRPC));
        let store = store.clone();
        let ended = Box::pin(async move {
            until_ended(&store, key, policy).await;
        });
        response.map(|body| SessionBody::stream(body, ended, is_grpc))
    }
}

/// What a cache would hand to others would sign them out (T58).
fn remove_from_browser(cookie: &CookieSource, headers: &mut HeaderMap, parts: Parts) {
    cookie.remove_from_browser(headers, parts);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    respond::vary_by(headers, COOKIE);
}
