//! A session id as a bearer token.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{ExtractSessionId, Found};
use crate::{cookie::is_token, request::head::RequestHead, rules::id::SessionId};

const BEARER: &[u8] = b"bearer";

/// Reads the session id from `Authorization: Bearer <token>` (RFC 6750 §2.1).
///
/// The scheme's case does not matter. The credentials of another scheme (RFC 9110 §11.4), in which `bearer` is nowhere, are
/// no session. All else stands for no session in particular and is refused: more than one field, a token that is no
/// `b64token`, a single word.
///
/// An application that looks at what follows the scheme, but not at the scheme, takes another's credentials for a token, and
/// those are not timed: let it refuse all schemes but `Bearer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BearerToken;

impl ExtractSessionId for BearerToken {
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        let mut fields = head.headers().get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else { return Found::Nothing };
        if fields.next().is_some() {
            return Found::Unusable;
        }
        let field = field.as_bytes().trim_ascii();
        let end = field.iter().position(|&byte| !is_token(byte)).unwrap_or(field.len());
        let (scheme, credentials) = field.split_at(end);
        if scheme.eq_ignore_ascii_case(BEARER) {
            let token = credentials.trim_ascii();
            let is_apart = credentials.len() > token.len();
            return if is_apart && is_b64token(token) {
                Found::Id(SessionId::from(token))
            } else {
                Found::Unusable
            };
        }
        // Nothing is found in what is surely somebody else's: lax readers look for the word wherever it is, or take a word
        // that stands alone for the token.
        let is_credentials = !scheme.is_empty() && matches!(credentials.first(), Some(b' ' | b'\t'));
        let is_other = field.is_empty() || is_credentials && !has_bearer(field);
        if is_other { Found::Nothing } else { Found::Unusable }
    }

    fn remove(&self, headers: &mut HeaderMap, _: &mut Extensions) {
        headers.remove(AUTHORIZATION);
    }

    /// RFC 6750 §3.1.
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Bearer error=\"invalid_token\"")
    }

    fn vary(&self) -> Vec<HeaderName> {
        vec![AUTHORIZATION]
    }
}

fn has_bearer(field: &[u8]) -> bool {
    field.windows(BEARER.len()).any(|part| part.eq_ignore_ascii_case(BEARER))
}

fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = &token[..token.len() - padding];
    !body.is_empty() && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}
