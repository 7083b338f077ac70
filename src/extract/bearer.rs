//! A session id as a bearer token.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{ExtractSessionId, Found};
use crate::{RequestHead, SessionId};

/// Reads the session id from `Authorization: Bearer <token>` (RFC 6750 §2.1).
///
/// The scheme's case does not matter; another scheme is no session; more than one field, or a token that is no
/// `b64token`, stands for no session in particular and is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct BearerToken;

impl ExtractSessionId for BearerToken {
    fn extract<'a>(&self, head: &RequestHead<'a>) -> Found<'a> {
        let mut fields = head.headers().get_all(AUTHORIZATION).iter();
        let Some(field) = fields.next() else { return Found::Nothing };
        if fields.next().is_some() {
            return Found::Unusable;
        }
        let field = field.as_bytes();
        let Some((scheme, rest)) = field.split_at_checked("bearer".len()) else { return Found::Nothing };
        if !scheme.eq_ignore_ascii_case(b"bearer") || !matches!(rest.first(), None | Some(b' ' | b'\t')) {
            return Found::Nothing;
        }
        let token = rest.trim_ascii();
        if is_b64token(token) { Found::Id(SessionId::from(token)) } else { Found::Unusable }
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

fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = &token[..token.len() - padding];
    !body.is_empty() && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}
