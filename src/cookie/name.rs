//! The session cookie's name, and what laxer parsers than RFC 6265bis take for it.
//!
//! A name is made of token characters (RFC 9110 §5.6.2); to one parser or another, every other byte separates. So the
//! name may begin anywhere, and what comes before an `=` is what counts; and what a pair begins with, for what follows
//! it may be a value without an `=`, too.

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use super::{
    bytes::{trim_by, trim_start},
    chunks::is_mark_and_number,
};

/// What a byte can be in a name that is read as the session's: its first, its last, one that parsers differ about.
const BEGINS: u8 = 1;
const ENDS: u8 = 2;
const LAX: u8 = 4;
/// And what is no separator.
const TOKEN: u8 = 8;

/// Which longer names are read as the session's, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Longer {
    /// `NAME.0`, `NAME__0`, `NAMEC1`, …: chunks, to one library or another that splits a long session.
    Chunks,
    /// Every name that begins with it, as Auth.js has it.
    All,
}

#[derive(Debug)]
pub(super) struct Name {
    pub(super) exact: Box<[u8]>,
    /// As the laxest parser reads it.
    folded: Box<[u8]>,
    longer: Longer,
    /// For each byte, what it can be. What laxer parsers do to a name leaves its characters standing, but for the lax ones.
    bytes: Box<[u8; 256]>,
}

/// Made by [`Name::suspects_in`].
pub(super) struct Suspects<'a, 'n> {
    name: &'n Name,
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Suspects<'a, '_> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = trim_start(self.rest?);
            let (length, mut is_suspect) = self.name.look_at_name(rest);
            let mut end = length;
            if let Some(value) = rest.get(length + 1..).filter(|_| rest[length] == b'=') {
                let at = memchr2(b'=', b';', value).unwrap_or(value.len());
                end = length + 1 + at;
                if value.get(at) == Some(&b'=') {
                    is_suspect = true;
                    end += memchr(b';', &value[at..]).unwrap_or(value.len() - at);
                }
            }
            self.rest = rest.get(end + 1..);
            if is_suspect {
                return Some(&rest[..end]);
            }
        }
    }
}

impl Name {
    /// A valid name: the builder has looked.
    pub(super) fn new(name: &str, longer: Longer) -> Self {
        let folded: Box<[u8]> = name.bytes().map(fold).collect();
        let (first, last) = (folded[0], folded[folded.len() - 1]);
        let mut bytes = Box::new([0; 256]);
        for byte in 0..=u8::MAX {
            let can = [
                (BEGINS, fold(byte) == first),
                (ENDS, fold(byte) == last || byte.is_ascii_digit()),
                (LAX, !is_token(byte) || matches!(byte, b'%' | b'+')),
                (TOKEN, is_token(byte)),
            ];
            bytes[usize::from(byte)] = can.iter().filter(|can| can.1).fold(0, |all, can| all | can.0);
        }
        Self { exact: name.as_bytes().into(), folded, longer, bytes }
    }

    /// Looks at the name that a pair begins with: its length, and whether it might be ours to some parser. Nearly all are
    /// not. What follows is an `=`, or it is all there is.
    #[inline]
    fn look_at_name(&self, pair: &[u8]) -> (usize, bool) {
        let mut seen = 0;
        for (length, &byte) in pair.iter().enumerate() {
            if byte == b'=' {
                return (length, length == 0 || seen & LAX != 0 || self.may_be_all(&pair[..length]));
            }
            if byte == b';' {
                return (length, seen & LAX != 0 || self.may_be_all(&pair[..length]));
            }
            seen |= self.bytes[usize::from(byte)];
        }
        // Without an `=`, it may get one from the next field, where servers put fields together with a comma; or have a value
        // all the same (Next.js).
        (pair.len(), seen & LAX != 0 || self.may_be_all(pair))
    }

    /// Whether this may be ours by its first and its last byte.
    #[inline]
    fn may_be_all(&self, name: &[u8]) -> bool {
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return false };
        self.bytes[usize::from(first)] & BEGINS != 0
            && (self.longer == Longer::All || self.bytes[usize::from(last)] & ENDS != 0)
    }

    /// The pairs of a `Cookie` field in which a parser might find the session cookie. To leave out nearly all others takes a
    /// look at each name, and at whether there is another `=` behind it.
    pub(super) fn suspects_in<'a>(&self, field: &'a [u8]) -> Suspects<'a, '_> {
        Suspects { name: self, rest: Some(field) }
    }

    /// Might a parser find the session cookie in this pair? It is asked of all pairs but the session's own.
    pub(super) fn is_disguised_in(&self, pair: &[u8]) -> bool {
        let (length, may_be_ours) = self.look_at_name(pair);
        let (name, value) = pair.split_at(length);
        (may_be_ours && (self.stands_before_equals(name, true) || self.stands_first(pair)))
            || self.stands_in_value(value, name.is_empty())
    }

    /// Whether the first token of the pair's name, or of a nameless one's value, is ours: to lightcookie, all that follows is its
    /// value.
    #[cold]
    fn stands_first(&self, pair: &[u8]) -> bool {
        let start = pair.iter().position(|byte| !b"= \t".contains(byte)).unwrap_or(pair.len());
        let name = &pair[start..];
        let name = &name[..memchr(b'=', name).unwrap_or(name.len())];
        let start = name.iter().position(|&byte| is_token(byte)).unwrap_or(name.len());
        let name = &name[start..];
        let end = name.iter().position(|&byte| !is_token(byte)).unwrap_or(name.len());
        self.reads_as_ours(&name[..end])
    }

    /// Behind an `=`, all parsers know of a value until something separates; unless the pair has no name.
    #[cold]
    fn stands_in_value(&self, value: &[u8], is_nameless: bool) -> bool {
        let Some(value) = value.strip_prefix(b"=") else { return false };
        let mut begin = 0;
        memchr_iter(b'=', value).any(|end| {
            let piece = &value[std::mem::replace(&mut begin, end + 1)..end];
            let may_be_ours = is_nameless || self.may_end_with_ours(piece) && !self.is_token(piece);
            may_be_ours && self.stands_before_equals(piece, is_nameless)
        })
    }

    fn is_token(&self, piece: &[u8]) -> bool {
        piece.iter().all(|&byte| self.bytes[usize::from(byte)] & TOKEN != 0)
    }

    /// Of a value, which can be long, a look at the last byte tells.
    fn may_end_with_ours(&self, piece: &[u8]) -> bool {
        let Some(&last) = piece.last() else { return false };
        self.bytes[usize::from(last)] & (ENDS | LAX) != 0
            || self.longer == Longer::All
            || memchr3(b'%', b'[', 0, piece).is_some()
    }

    /// Whether the name stands at the end of what is before an `=`, between separators. `is_name`: it is the pair's name,
    /// and counts as a whole, too.
    #[cold]
    fn stands_before_equals(&self, piece: &[u8], is_name: bool) -> bool {
        let last_run = last_run_of(trim_end(piece));
        // PHP reads a space within a name as `_`.
        self.reads_as_ours(last_run)
            // A date is a value of its own to WebOb, and the next name may be right behind it.
            || last_run.strip_prefix(b"GMT").is_some_and(|name| self.reads_as_ours(name))
            || (is_name && self.reads_as_ours(piece))
            // PHP's arrays.
            || memchr_iter(b'[', piece).any(|bracket| self.reads_as_ours(last_run_of(&piece[..bracket])))
    }

    /// Whether this becomes the session's name after decoding, dropping what is no token, ignoring case, and reading `.`,
    /// `+`, space and `[` as `_` (PHP), or ending it at `[` (PHP) or NUL (C).
    fn reads_as_ours(&self, name: &[u8]) -> bool {
        let until = |end| memchr(end, name).map(|at| &name[..at]);
        [Some(name), until(b'['), until(0)].into_iter().flatten().any(|name| self.is_ours(name, Self::is_read_in))
            // From a `%` on, anything may come of it: there are more decoders than `%73` (`%u0073` to Perl's CGI).
            || until(b'%').is_some_and(|literal| self.is_ours(literal, Self::may_go_on_from))
    }

    /// Whether it is so in any of the ways to read this name.
    fn is_ours(&self, name: &[u8], is_so: impl Fn(&Self, &mut dyn Iterator<Item = u8>) -> bool) -> bool {
        let name = trim_by(name, |byte| !is_token(byte));
        // As a space, `+` is trimmed, too.
        [name, trim_by(name, |byte| !is_token(byte) || byte == b'+')].into_iter().any(|name| {
            let mut dropped = name.iter().copied().filter(|&byte| is_token(byte));
            let mut replaced =
                name.iter().copied().filter(|&byte| is_token(byte) || byte == b' ' || byte == b'[');
            is_so(self, &mut dropped) || is_so(self, &mut replaced)
        })
    }

    fn is_read_in(&self, name: &mut dyn Iterator<Item = u8>) -> bool {
        let begins_with_ours = self.folded.iter().all(|&byte| name.next().map(fold) == Some(byte));
        let mut rest = name.peekable();
        begins_with_ours && (rest.peek().is_none() || self.longer == Longer::All || is_mark_and_number(rest))
    }

    /// Whether a name that begins so may end as ours.
    fn may_go_on_from(&self, literal: &mut dyn Iterator<Item = u8>) -> bool {
        literal.zip(&self.folded).all(|(byte, &ours)| fold(byte) == ours)
    }
}

fn trim_end(piece: &[u8]) -> &[u8] {
    let end = piece.iter().rposition(|&byte| is_token(byte)).map_or(0, |last| last + 1);
    &piece[..end]
}

/// The token at the very end.
fn last_run_of(piece: &[u8]) -> &[u8] {
    let start = piece.iter().rposition(|&byte| !is_token(byte)).map_or(0, |last| last + 1);
    &piece[start..]
}

fn fold(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' | b'+' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
