//! The Redis server's clock is set back: by NTP, by hand, or because another server with another clock takes over.

use std::time::Duration;

use crate::servers::redis_server::RedisServer;
use ::redis::aio::ConnectionManager;
use tower_session_timeout::{
    Clock, Decision, EndReason, Limits, Live, ManualClock, NewSession, SessionId, Store,
    contract::{Access, Answer, IdTag, Policy},
};
use tower_session_timeout_redis::RedisStore;

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(15 * 60);
const ABSOLUTE: Duration = Duration::from_secs(60 * 60);

/// One server, and the clock it goes by at the moment.
struct Site {
    _server: RedisServer,
    connection: ConnectionManager,
    clock: ManualClock,
    policy: Policy,
}

impl Site {
    async fn new() -> Self {
        let server = RedisServer::start(&[]).await;
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(24 * 3600));
        let mut policy = Policy::new(Limits::new(IDLE, ABSOLUTE));
        policy.rotation_grace = Duration::from_secs(30);
        Self { connection: server.connect().await, _server: server, clock, policy }
    }

    fn store(&self) -> RedisStore<ConnectionManager> {
        RedisStore::new(self.connection.clone()).clock(self.clock.clone())
    }

    fn set_back(&mut self, by: Duration) {
        let earlier = ManualClock::new();
        earlier.advance(self.clock.now().checked_sub(by).unwrap());
        self.clock = earlier;
    }

    async fn start(&self, id: &str) {
        ask(self.store().start(&SessionId::from(id), &NewSession::new(), &self.policy)).await;
    }

    async fn check(&self, id: &str, access: Access) -> Decision {
        ask(self.store().check(&SessionId::from(id), &self.policy, access)).await
    }

    async fn renew(&self, id: &str) -> Live {
        match self.check(id, Access::Renew).await {
            Decision::Live(live) => live,
            other => panic!("{id} is {other:?}"),
        }
    }

    async fn end_reason(&self, id: &str) -> Option<EndReason> {
        match self.check(id, Access::Renew).await {
            Decision::Ended { reason, .. } => Some(reason),
            _ => None,
        }
    }

    async fn rotate(&self, from: &str, to: &str) {
        let live = self.renew(from).await;
        ask(self.store().rotate(live.key, &SessionId::from(to), live.presented, &self.policy)).await;
    }
}

async fn ask<T: Send + 'static>(answer: Answer<T>) -> T {
    answer.await.unwrap()
}

#[tokio::test]
async fn after_the_clock_was_set_back_a_session_in_use_lives_as_long_as_it_would_have() {
    for back in [MINUTE, MINUTE * 20, MINUTE * 40, MINUTE * 120] {
        let mut site = Site::new().await;
        site.start("A").await;
        let mut age = Duration::ZERO;
        while age < ABSOLUTE {
            let live = site.renew("A").await;
            assert_eq!(live.age(), age, "{back:?}");
            if age == MINUTE * 30 {
                site.set_back(back);
                assert_eq!(site.renew("A").await.age(), age, "{back:?}");
            }
            site.clock.advance(MINUTE * 5);
            age += MINUTE * 5;
        }
        assert_eq!(site.end_reason("A").await, Some(EndReason::Absolute), "{back:?}");
    }
}

#[tokio::test]
async fn after_the_clock_was_set_back_a_session_ends_as_idle_after_its_next_request() {
    for back in [MINUTE, MINUTE * 20, MINUTE * 120] {
        let mut site = Site::new().await;
        for id in ["A", "B"] {
            site.start(id).await;
        }
        site.clock.advance(MINUTE * 10);
        for id in ["A", "B"] {
            site.renew(id).await;
        }
        site.set_back(back);
        for id in ["A", "B"] {
            let live = site.renew(id).await;
            assert_eq!(live.idle_for(), Duration::ZERO);
            assert_eq!(live.remaining().shortest(), IDLE);
        }
        site.clock.advance(MINUTE * 14);
        site.renew("A").await;
        site.clock.advance(MINUTE);
        assert_eq!(site.end_reason("B").await, Some(EndReason::Idle), "{back:?}");
        site.renew("A").await;
    }
}

/// It is not known for how long nobody looked; but no longer than the clock was set back by.
#[tokio::test]
async fn after_the_clock_was_set_back_a_session_nobody_uses_ends_once_it_has_caught_up() {
    let mut site = Site::new().await;
    site.start("A").await;
    site.set_back(MINUTE * 10);
    for _ in 0..4 {
        assert!(matches!(site.check("A", Access::Peek).await, Decision::Live(_)), "a look does not renew");
        site.clock.advance(MINUTE * 5);
    }
    site.clock.advance(MINUTE * 5);
    assert_eq!(site.end_reason("A").await, Some(EndReason::Idle));
}

/// T91
#[tokio::test]
async fn what_was_over_before_the_clock_was_set_back_stays_so() {
    let mut site = Site::new().await;
    for id in ["ended", "idle", "old"] {
        site.start(id).await;
    }
    let key = site.renew("ended").await.key;
    assert!(ask(site.store().end(key, EndReason::SignedOut)).await);
    site.rotate("old", "new").await;
    site.renew("new").await;
    site.clock.advance(Duration::from_secs(30));
    assert_eq!(site.end_reason("old").await, Some(EndReason::Superseded));
    for _ in 0..3 {
        site.clock.advance(MINUTE * 5);
        site.renew("new").await;
    }
    assert_eq!(site.end_reason("idle").await, Some(EndReason::Idle));
    site.set_back(MINUTE * 60);
    assert_eq!(site.end_reason("old").await, Some(EndReason::Superseded));
    assert_eq!(site.end_reason("ended").await, Some(EndReason::SignedOut));
    assert_eq!(site.end_reason("idle").await, Some(EndReason::Idle));
    site.renew("new").await;
    assert_eq!(site.end_reason("old").await, Some(EndReason::Superseded));
}

/// The grace goes on, too, as long as it would have.
#[tokio::test]
async fn an_old_id_in_its_grace_works_for_the_rest_of_it() {
    let mut site = Site::new().await;
    site.start("A").await;
    site.rotate("A", "B").await;
    site.renew("B").await;
    site.clock.advance(Duration::from_secs(10));
    site.renew("B").await;
    site.set_back(MINUTE * 60);
    site.renew("A").await;
    site.clock.advance(Duration::from_secs(29));
    site.renew("B").await;
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.end_reason("A").await, Some(EndReason::Superseded));
    site.renew("B").await;
}

#[tokio::test]
async fn sessions_begin_after_the_clock_was_set_back() {
    let mut site = Site::new().await;
    site.start("A").await;
    site.set_back(MINUTE * 60);
    site.start("B").await;
    assert_ne!(site.renew("B").await.presented, IdTag::new([0; 8]));
    site.rotate("A", "C").await;
    assert_eq!(site.renew("C").await.key, site.renew("A").await.key);
    site.clock.advance(IDLE);
    for id in ["A", "B", "C"] {
        assert_eq!(site.end_reason(id).await, Some(EndReason::Idle), "{id}");
    }
}
