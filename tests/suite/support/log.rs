//! What a test's thread writes to the log.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use tracing::{Level, subscriber::DefaultGuard};

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Until the guard is dropped.
    pub fn listen() -> (Self, DefaultGuard) {
        // `tracing` remembers what nobody listens to. Somebody always does, or a test beside this one would have it
        // remember that of events that are looked for here.
        static SOMEBODY: Once = Once::new();
        SOMEBODY.call_once(|| {
            let deaf = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(io::sink).finish();
            tracing::subscriber::set_global_default(deaf).unwrap();
        });
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    pub fn lines_with(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
