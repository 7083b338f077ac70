//! What is made of an answer: which change the store is told, and what leaves if that is done. Nothing is asked or changed
//! here.

#[cfg(feature = "rescue")]
use crate::rules::id::Owner;
use crate::{
    middleware::admitted::RequestSession,
    rules::{
        id::{IdTag, SessionId, SessionKey},
        new_session::NewSession,
    },
};

/// What an answer says happened.
pub(crate) enum Observed {
    /// The session cookie was set: by a log-in or not.
    CookieSet {
        id: SessionId<'static>,
        login: Option<Login>,
        new: Box<NewSession>,
    },
    CookieRemoved,
    /// The application removes its cookie from a request that is no log-out, though it looks like one.
    RemovalWithoutLogout,
    /// The user proved who they are, and the session keeps its id.
    Reauthenticated(Box<NewSession>),
    /// The request was a log-out, and the application has not refused it.
    LoggedOut,
    /// Nothing, and it is time to set the session cookie again.
    CookieDue {
        id: SessionId<'static>,
    },
    /// Nothing; and the application has ended the session, so that its user's forms go.
    #[cfg(feature = "rescue")]
    EndedByItself,
    /// Nothing; and the request was no activity after all: a layer further in has refused it.
    RefusedWithin,
}

/// How an answer is known for a log-in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Login {
    /// The application said so.
    Announced,
    /// `fresh_login` recognized it. Without a new id it is none.
    Recognized,
}

/// What of a request counts for what is made of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) session: RequestSession,
    /// This very request has ended its session.
    pub(crate) has_ended_itself: bool,
    /// The session has had the presented id since it began.
    pub(crate) has_first_id: bool,
    /// The request merely asked for something, so that its answer is no log-in `fresh_login` might have missed.
    pub(crate) is_safe: bool,
    /// A live session that a layer further in has hidden from the application.
    pub(crate) hidden: Option<SessionKey>,
}

/// What is made of an answer.
pub(crate) struct Plan {
    pub(crate) change: Change,
    pub(crate) leaving: Leaving,
}

/// What the store is told.
pub(crate) enum Change {
    None(Outcome),
    /// A log-in ends the live session it was made in, ids and all (OWASP ASVS 5.0 §7.2.4).
    Begin {
        id: SessionId<'static>,
        new: Box<NewSession>,
        in_place_of: Option<SessionKey>,
    },
    /// The request has ended its session, and may begin another one.
    BeginAfterEnd {
        presented: IdTag,
        id: SessionId<'static>,
        new: Box<NewSession>,
    },
    /// Only a new id proves that it was a log-in.
    BeginUnderNewId {
        old: SessionKey,
        presented: IdTag,
        id: SessionId<'static>,
        new: Box<NewSession>,
        has_first_id: bool,
    },
    Rotate {
        key: SessionKey,
        presented: IdTag,
        id: SessionId<'static>,
        is_safe: bool,
    },
    Restart {
        key: SessionKey,
        new: Box<NewSession>,
    },
    End {
        key: SessionKey,
        presented: IdTag,
        has_ended_itself: bool,
    },
    LogOut,
    /// No session is to end, but its user's forms go.
    #[cfg(feature = "rescue")]
    DiscardForms,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was planned leaves.
    Pass,
    /// The answer's session cookie must not leave: its value is not live.
    DropCookie,
    /// The answer's session cookie is replaced by a removal.
    RemoveCookie,
    /// The store could not do what the answer promises.
    Unavailable,
    /// The owner has as many sessions as allowed.
    TooManySessions,
}

/// What leaves with the answer once the change is made.
pub(crate) struct Leaving {
    pub(crate) cookies: LeavingCookies,
    /// The session goes on, at most under another id. So a page is told of it; and a cache may have the answer.
    pub(crate) goes_on: bool,
    /// Whose the session is that begins.
    #[cfg(feature = "rescue")]
    pub(crate) owner: Option<Owner>,
}

/// Which session cookies leave.
pub(crate) enum LeavingCookies {
    /// What the application set: none.
    Untouched,
    /// Those of this id. Of several values that were set, the last one was settled.
    Set(SessionId<'static>),
    /// Removals alone.
    Removed,
    /// The session's own, again.
    Renewed,
}

impl Leaving {
    /// Nothing happened.
    pub(crate) const UNCHANGED: Self = Self::new(LeavingCookies::Untouched, true);

    const UNTOUCHED: Self = Self::new(LeavingCookies::Untouched, false);
    const REMOVED: Self = Self::new(LeavingCookies::Removed, false);
    const RENEWED: Self = Self::new(LeavingCookies::Renewed, true);

    const fn new(cookies: LeavingCookies, goes_on: bool) -> Self {
        Self {
            cookies,
            goes_on,
            #[cfg(feature = "rescue")]
            owner: None,
        }
    }
}

impl Plan {
    pub(crate) fn of(facts: Facts, observed: Observed) -> Self {
        let leaving = match &observed {
            #[cfg(not(feature = "rescue"))]
            Observed::CookieSet { id, login, .. } => {
                Leaving::new(LeavingCookies::Set(id.clone()), login.is_none())
            }
            #[cfg(feature = "rescue")]
            Observed::CookieSet { id, login, new } => {
                let leaving = Leaving::new(LeavingCookies::Set(id.clone()), login.is_none());
                Leaving { owner: new.owner.clone(), ..leaving }
            }
            Observed::CookieRemoved => Leaving::REMOVED,
            Observed::CookieDue { .. } => Leaving::RENEWED,
            Observed::RemovalWithoutLogout
            | Observed::Reauthenticated(_)
            | Observed::LoggedOut
            | Observed::RefusedWithin => Leaving::UNTOUCHED,
            #[cfg(feature = "rescue")]
            Observed::EndedByItself => Leaving::UNTOUCHED,
        };
        Self { change: change(facts, observed), leaving }
    }
}

fn change(facts: Facts, observed: Observed) -> Change {
    let Facts { session, has_ended_itself, has_first_id, is_safe, hidden } = facts;
    match (observed, session) {
        (Observed::LoggedOut | Observed::CookieRemoved, RequestSession::Unchecked) => {
            Change::None(Outcome::Unavailable)
        }
        (Observed::LoggedOut, _) => Change::LogOut,
        (Observed::CookieSet { id, new, .. }, RequestSession::Live { presented, .. }) if has_ended_itself => {
            Change::BeginAfterEnd { presented, id, new }
        }
        (Observed::CookieSet { id, login, new }, RequestSession::Live { key, presented, .. }) => {
            match login {
                Some(Login::Announced) => Change::Begin { id, new, in_place_of: Some(key) },
                Some(Login::Recognized) => {
                    Change::BeginUnderNewId { old: key, presented, id, new, has_first_id }
                }
                None => Change::Rotate { key, presented, id, is_safe },
            }
        }
        (Observed::CookieSet { .. }, RequestSession::Unchecked) => Change::None(Outcome::DropCookie),
        // The session that a layer further in has hidden is its user's who logs in anew.
        (Observed::CookieSet { id, login, new }, _) => {
            Change::Begin { id, new, in_place_of: hidden.filter(|_| login.is_some()) }
        }
        (Observed::CookieDue { id }, RequestSession::Live { key, presented, .. }) => {
            Change::Rotate { key, presented, id, is_safe: false }
        }
        (Observed::CookieDue { .. } | Observed::RemovalWithoutLogout, _) => Change::None(Outcome::DropCookie),
        (Observed::Reauthenticated(new), RequestSession::Live { key, .. }) => Change::Restart { key, new },
        (Observed::CookieRemoved, RequestSession::Live { key, presented, .. }) => {
            Change::End { key, presented, has_ended_itself }
        }
        #[cfg(feature = "rescue")]
        (Observed::EndedByItself, _) | (Observed::CookieRemoved, RequestSession::Stripped { .. }) => {
            Change::DiscardForms
        }
        (Observed::CookieRemoved | Observed::Reauthenticated(_) | Observed::RefusedWithin, _) => {
            Change::None(Outcome::Pass)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middleware::admitted::Hold;

    const KEY: SessionKey = SessionKey::new([1; 16]);
    const HIDDEN: SessionKey = SessionKey::new([2; 16]);
    const LIVE: RequestSession =
        RequestSession::Live { key: KEY, presented: IdTag::new([3; 8]), hold: Hold::Store };
    const STRIPPED: RequestSession = RequestSession::Stripped { forget_cookie: false };

    fn facts(session: RequestSession) -> Facts {
        Facts { session, has_ended_itself: false, has_first_id: true, is_safe: true, hidden: None }
    }

    fn set(login: Option<Login>) -> Observed {
        Observed::CookieSet { id: SessionId::from("new".to_owned()), login, new: Box::default() }
    }

    fn name(change: &Change) -> &'static str {
        match change {
            Change::None(Outcome::Pass) => "pass",
            Change::None(Outcome::DropCookie) => "drop cookie",
            Change::None(Outcome::Unavailable) => "503",
            Change::None(_) => "another outcome",
            Change::Begin { in_place_of: None, .. } => "begin",
            Change::Begin { in_place_of: Some(KEY), .. } => "end, begin",
            Change::Begin { in_place_of: Some(_), .. } => "end hidden, begin",
            Change::BeginAfterEnd { .. } => "begin another",
            Change::BeginUnderNewId { .. } => "begin if proven",
            Change::Rotate { .. } => "rotate",
            Change::Restart { .. } => "restart",
            Change::End { .. } => "end",
            Change::LogOut => "log out",
            // To the session nothing happens.
            #[cfg(feature = "rescue")]
            Change::DiscardForms => "pass",
        }
    }

    #[test]
    fn the_store_is_told_by_the_session_of_the_request_and_by_what_its_answer_says() {
        let observed: [fn() -> Observed; 9] = [
            || set(None),
            || set(Some(Login::Announced)),
            || set(Some(Login::Recognized)),
            || Observed::CookieRemoved,
            || Observed::RemovalWithoutLogout,
            || Observed::Reauthenticated(Box::default()),
            || Observed::LoggedOut,
            || Observed::CookieDue { id: SessionId::from("old".to_owned()) },
            || Observed::RefusedWithin,
        ];
        let ended_itself = Facts { has_ended_itself: true, ..facts(LIVE) };
        let hides_one = Facts { hidden: Some(HIDDEN), ..facts(STRIPPED) };
        #[rustfmt::skip]
        let table = [
            //                                set, announced, recognized, removed, no log-out, reauthenticated, log-out, due, refused
            (facts(RequestSession::None),     ["begin", "begin", "begin", "pass", "drop cookie", "pass", "log out", "drop cookie", "pass"]),
            (facts(STRIPPED),                 ["begin", "begin", "begin", "pass", "drop cookie", "pass", "log out", "drop cookie", "pass"]),
            (hides_one,                       ["begin", "end hidden, begin", "end hidden, begin", "pass", "drop cookie", "pass", "log out", "drop cookie", "pass"]),
            (facts(LIVE),                     ["rotate", "end, begin", "begin if proven", "end", "drop cookie", "restart", "log out", "rotate", "pass"]),
            (ended_itself,                    ["begin another", "begin another", "begin another", "end", "drop cookie", "restart", "log out", "rotate", "pass"]),
            (facts(RequestSession::Unchecked),["drop cookie", "drop cookie", "drop cookie", "503", "drop cookie", "pass", "503", "drop cookie", "pass"]),
            (facts(RequestSession::Outer),    ["begin", "begin", "begin", "pass", "drop cookie", "pass", "log out", "drop cookie", "pass"]),
        ];
        for (row, (facts, expected)) in table.into_iter().enumerate() {
            let planned = observed.map(|observed| name(&Plan::of(facts, observed()).change));
            assert_eq!(planned, expected, "row {row}");
        }
    }

    #[test]
    fn what_leaves_is_what_the_answer_says_and_a_session_that_goes_on_is_told_to_the_page() {
        let leaving = |observed| Plan::of(facts(LIVE), observed).leaving;
        let rotated = leaving(set(None));
        assert!(matches!(&rotated.cookies, LeavingCookies::Set(id) if id.expose() == b"new"));
        assert!(rotated.goes_on);
        for login in [Login::Announced, Login::Recognized] {
            assert!(!leaving(set(Some(login))).goes_on, "{login:?}");
        }
        let removed = leaving(Observed::CookieRemoved);
        assert!(matches!(removed.cookies, LeavingCookies::Removed) && !removed.goes_on);
        let renewed = leaving(Observed::CookieDue { id: SessionId::from("old".to_owned()) });
        assert!(matches!(renewed.cookies, LeavingCookies::Renewed) && renewed.goes_on);
        let others = [Observed::RemovalWithoutLogout, Observed::LoggedOut, Observed::RefusedWithin];
        for observed in others.into_iter().chain([Observed::Reauthenticated(Box::default())]) {
            let leaving = leaving(observed);
            assert!(matches!(leaving.cookies, LeavingCookies::Untouched) && !leaving.goes_on);
        }
    }
}
