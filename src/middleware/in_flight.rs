//! Keeps a session in use while a request with it is under way, where the store cannot hold it.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

use crate::{
    middleware::store_handle::StoreHandle,
    rules::{id::SessionKey, limits::Verdict},
    store::answer::BoxFuture,
};

/// Activity younger than this part of the idle timeout is not worth a command.
const PARTS_OF_IDLE: u32 = 60;
/// Three renewals in an idle timeout: if one fails, the next is in time.
const PARTS_PER_RENEWAL: u32 = 20;

/// Renews the session of a request that takes its time, again and again. Dropping it renews a last time: that the request
/// ended is activity, too.
pub(crate) struct InFlightGuard {
    store: StoreHandle,
    session: SessionKey,
    renewing: BoxFuture<Infallible>,
    /// The last renewal was some time ago.
    is_due: Arc<AtomicBool>,
}

impl InFlightGuard {
    /// `idle` is what the session has left. Without a runtime there is no time to wait for.
    pub(crate) fn new(store: &StoreHandle, session: SessionKey, idle: Duration) -> Option<Self> {
        Handle::try_current().ok()?;
        let is_due = Arc::new(AtomicBool::new(false));
        let renewing = Box::pin(renew_again_and_again(store.clone(), session, idle, Arc::clone(&is_due)));
        Some(Self { store: store.clone(), session, renewing, is_due })
    }

    /// The request is no activity after all.
    pub(crate) fn cancel(&self) {
        self.is_due.store(false, Relaxed);
    }

    /// To be polled with what the request waits for. It is never done.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        let _: Poll<Infallible> = self.renewing.as_mut().poll(cx);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_due.load(Relaxed), Handle::try_current()) {
            let (store, session) = (self.store.clone(), self.session);
            runtime.spawn(async move { store.renew(session).await });
        }
    }
}

async fn renew_again_and_again(
    store: StoreHandle,
    session: SessionKey,
    mut idle: Duration,
    is_due: Arc<AtomicBool>,
) -> Infallible {
    loop {
        let part = idle / PARTS_OF_IDLE;
        sleep(part).await;
        is_due.store(true, Relaxed);
        sleep(part * (PARTS_PER_RENEWAL - 1)).await;
        let renewed = store.renew(session).await;
        is_due.store(renewed.is_err(), Relaxed);
        match renewed {
            Ok(Verdict::Live(left)) => idle = left.idle,
            // It has ended.
            Ok(Verdict::Ended(_) | Verdict::Capped(_)) => return pending().await,
            Err(_) => {}
        }
    }
}
