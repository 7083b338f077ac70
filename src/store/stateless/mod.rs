//! Sessions that are left with their clients.
//!
//! Two cookies travel beside the session cookie. `record` says what the session is; it is bound to the session id, and
//! is set only where the session cookie is, so that the two always match. `activity` says when the session was last
//! used; it is bound to the session, whichever of its ids is in use. Were both one cookie, the late answer to a request
//! with an old id would overwrite what belongs to the new one, and log the user out.

mod request;
mod seal;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

pub use self::seal::KeyError;
use self::{request::Request, seal::Keys};
use crate::{
    clock::{Clock, WallClock},
    event::EventSink,
    rules::{
        decision::{Access, Decision},
        id::{IdTag, Owner, SessionId, SessionKey},
        limits::{EndReason, Policy, Verdict},
        new_session::NewSession,
    },
    store::{
        answer::{Answer, Restarted, Rotated, Started, StoreError},
        contract::{Companion, RequestStore, Store},
    },
};

const RECORD: &str = "record";
const ACTIVITY: &str = "activity";
/// How far ahead another machine's clock may be.
const SKEW: Duration = Duration::from_secs(30);

type NotBefore = Box<dyn Fn(Option<&Owner>) -> Option<SystemTime> + Send + Sync>;

/// Keeps nothing: each session's record is left with its client, in two cookies beside the session cookie, signed with
/// HMAC-SHA-256 and bound to the session id. Any number of processes that share the keys share the sessions.
///
/// **It cannot end a session.** Nobody remembers that it ended, so a log-out only removes the cookies from the browser;
/// whoever kept a copy of them is admitted until a timeout. The other limits of it follow from the same:
///
/// - `Session::end`, `sign-out` and the log-out path end a session for this browser. [`not_before`](Self::not_before) ends
///   sessions for everybody, if the application remembers from when on they count.
/// - [`Sessions`](crate::Sessions), which has no request to find a record in, knows no session: it starts, ends and finds
///   none, and there is no list of an owner's.
/// - After a rotation, old ids work until the limits of the session, whatever the rotation grace; and an answer that was
///   slow can still set a cookie after the log-out.
/// - A late answer to a request from before a log-in (or before a change of the key) can overwrite the newer activity cookie
///   with its own. Then the user is asked to log in early.
/// - A session can end as idle while its request is answered, and the end of an answer is no activity.
/// - A WebSocket or stream cannot know of later requests: `Session::ended` and `end_streams` tell the end as of the request
///   that opened it, perhaps too early, never too late. A client that opens it anew goes on.
/// - Renewals are left with the client at most once in a [`granularity`](Self::granularity), so a session may end that much
///   early. An answer that the application marks as `public` renews nothing.
/// - Times are by the wall clock. A node's clock that is behind lets sessions live that much longer; one that is ahead ends
///   them early. Stamps more than 30 seconds ahead are refused.
///
/// A client that does not send the record has no session, for it could have left it out (strict). The record is signed, not
/// encrypted: whoever has the browser can read the owner, so let it be an opaque id (NIST SP 800-63B-4 §5.1.1), and the label.
///
/// It works with a session [cookie](crate::SessionTimeoutBuilder::cookie) alone. The two cookies are named after it
/// (`sid-record`, `sid-activity`), take over its [attributes](crate::SessionCookie), are
/// `HttpOnly`, and if they are `Secure` begin with `__Host-` or `__Secure-`. Say `secure(true)` there in production. With a
/// `Max-Age` among the attributes they outlive the browser, too.
///
/// ```
/// use tower_session_timeout::{SessionCookie, SessionTimeoutLayer, StatelessStore};
///
/// # let current = "a random key: openssl rand -base64 32";
/// # let previous = "the one that was used until last week";
/// // The first key signs. Others are accepted: keep one for as long as the absolute timeout.
/// let layer = SessionTimeoutLayer::builder()
///     .cookie(SessionCookie::new("sid").secure(true))
///     .store(StatelessStore::new([current, previous])?)
///     .build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct StatelessStore(Arc<Settings>);

struct Settings {
    keys: Keys,
    clock: Box<dyn Clock>,
    granularity: Option<Duration>,
    not_before: Option<NotBefore>,
    sink: OnceLock<EventSink>,
}

impl StatelessStore {
    /// A store that signs with the first of these keys, and accepts what was signed with any. Each is secret, random, and
    /// at least 32 bytes long.
    ///
    /// To change the key, put the new one first. A session's cookies are signed anew with its next renewal; the old key
    /// can go once no session signed with it can be live.
    ///
    /// # Errors
    ///
    /// If there is no key, or one is too short or no random key.
    pub fn new(keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, KeyError> {
        Ok(Self(Arc::new(Settings {
            keys: Keys::new(keys)?,
            clock: Box::new(WallClock),
            granularity: None,
            not_before: None,
            sink: OnceLock::new(),
        })))
    }

    /// Signs with a random key of this process's own: its sessions end with it, and no other process knows them.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers.
    #[must_use]
    pub fn ephemeral() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system gives random numbers");
        Self::new([key]).expect("32 random bytes are a key")
    }

    /// The clock to judge by, in place of the [`WallClock`]. All processes have to agree on its origin.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|settings| settings.clock = Box::new(clock))
    }

    /// By how much the last activity has to move for the client to be left a new one. Default: a sixtieth of the idle
    /// timeout, at most 60 seconds; more than a quarter of the idle timeout counts as a quarter. A session may end as idle
    /// this much early, never late.
    pub fn granularity(self, granularity: Duration) -> Self {
        self.with(|settings| settings.granularity = Some(granularity))
    }

    /// From when on sessions of this owner count; `None`: all do. One that began before has ended
    /// ([`EndReason::Revoked`]). It is asked with every request: be quick.
    ///
    /// ```
    /// use std::{collections::HashMap, sync::{Arc, RwLock}, time::SystemTime};
    /// use tower_session_timeout::StatelessStore;
    ///
    /// // When each user last signed out everywhere, or changed the password.
    /// let signed_out = Arc::new(RwLock::new(HashMap::<String, SystemTime>::new()));
    /// let store = StatelessStore::ephemeral()
    ///     .not_before(move |owner| signed_out.read().unwrap().get(owner?.as_str()).copied());
    /// ```
    pub fn not_before(
        self,
        not_before: impl Fn(Option<&Owner>) -> Option<SystemTime> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.not_before = Some(Box::new(not_before)))
    }

    /// Nobody else has the settings yet: a request takes its share of them only once the store is in a layer.
    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        if let Some(settings) = Arc::get_mut(&mut self.0) {
            set(settings);
        }
        self
    }
}

impl fmt::Debug for StatelessStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatelessStore")
            .field("clock", &self.0.clock)
            .field("granularity", &self.0.granularity)
            .finish_non_exhaustive()
    }
}

/// Without a request there is no record, and no session is known.
impl Store for StatelessStore {
    fn check(&self, _: &SessionId<'_>, _: &Policy, _: Access) -> Answer<Decision> {
        Answer::Ready(Ok(Decision::UNKNOWN))
    }

    fn remaining(&self, _: SessionKey, _: &Policy) -> Answer<Verdict> {
        Answer::Ready(Ok(Verdict::Ended(EndReason::Unknown)))
    }

    fn start(&self, _: &SessionId<'_>, _: &NewSession, _: &Policy) -> Answer<Started> {
        let why = "a stateless session begins with the answer that sets its cookie: nobody else could be left its record";
        Answer::Ready(Err(StoreError::new(why)))
    }

    fn rotate(&self, _: SessionKey, _: &SessionId<'_>, _: IdTag, _: &Policy) -> Answer<Rotated> {
        Answer::Ready(Ok(Rotated::Refused))
    }

    fn restart(&self, _: SessionKey, _: &NewSession, _: &Policy) -> Answer<Restarted> {
        Answer::Ready(Ok(Restarted::Ended))
    }

    fn end(&self, _: SessionKey, _: EndReason) -> Answer<bool> {
        Answer::Ready(Ok(false))
    }

    fn events(&self, sink: EventSink) {
        let _ = self.0.sink.set(sink);
    }

    fn companions(&self) -> &'static [&'static str] {
        &[RECORD, ACTIVITY]
    }

    fn for_request(&self, cookie: &str, received: Vec<Companion>) -> Option<Arc<dyn RequestStore>> {
        Some(Arc::new(Request::new(Arc::clone(&self.0), cookie, received)))
    }
}
