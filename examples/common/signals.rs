//! When a program is told to stop.

use tokio::signal;

/// Ctrl-C, or what service managers send.
pub(crate) async fn told_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = signal::ctrl_c() => {}
        }
        return;
    }
    _ = signal::ctrl_c().await;
}
