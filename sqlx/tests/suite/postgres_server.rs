//! A Postgres server of the test's own, on a free loopback port, stopped by its own process id.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tempfile::TempDir;

pub(crate) struct PostgresServer {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl PostgresServer {
    /// One that the tests of this binary share, as long as any of them uses it.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let server = {
            let mut shared = SHARED.lock().unwrap();
            shared.upgrade().unwrap_or_else(|| {
                let server = Arc::new(Self::launch());
                *shared = Arc::downgrade(&server);
                server
            })
        };
        server.ready().await;
        server
    }

    pub(crate) async fn start() -> Self {
        let server = Self::launch();
        server.ready().await;
        server
    }

    fn launch() -> Self {
        let folder = TempDir::new().unwrap();
        if let Some((user, group)) = unprivileged() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut initdb = command("initdb");
        initdb.arg("-D").arg(folder.path().join("data"));
        initdb.args(["-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().unwrap_or_else(|error| panic!("initdb: {error}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = spawn(&folder, port);
        Self { process, port, folder }
    }

    async fn ready(&self) {
        for _ in 0..1200 {
            if self.options().connect().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server does not answer: {}", fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        options(self.address())
    }

    /// Of so many connections at most.
    pub(crate) fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new().max_connections(connections).connect_lazy_with(self.options())
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// In good order, with whoever is connected sent away.
    pub(crate) fn stop(&mut self) {
        signal(&self.process, "-INT");
        self.process.wait().unwrap();
    }

    /// On the same port, with the same files.
    pub(crate) async fn start_again(&mut self) {
        // What a killed server leaves behind goes by itself, and until then there is no new one.
        for _ in 0..400 {
            self.process = spawn(&self.folder, self.port);
            for _ in 0..100 {
                if self.options().connect().await.is_ok() {
                    return;
                }
                if self.process.try_wait().unwrap().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.ready().await;
    }

    /// From its next start on it is a standby, which takes no writes; or no longer one.
    pub(crate) fn make_standby(&self, is_standby: bool) {
        let file = self.folder.path().join("data/standby.signal");
        if is_standby { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // At once, and with its children.
        if let Ok(None) = self.process.try_wait() {
            signal(&self.process, "-QUIT");
            let _ = self.process.wait();
        }
    }
}

pub(crate) fn options(server: SocketAddr) -> PgConnectOptions {
    PgConnectOptions::new()
        .host(&server.ip().to_string())
        .port(server.port())
        .username("test")
        .database("postgres")
}

fn signal(process: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut server = command("postgres");
    server.arg("-D").arg(folder.path().join("data")).args(["-p", &port.to_string()]);
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        "fsync=off",
        "shared_buffers=16MB",
    ];
    server.args(settings.into_iter().flat_map(|setting| ["-c", setting]));
    server.stdout(Stdio::null()).stderr(log);
    server.spawn().unwrap_or_else(|error| panic!("postgres: {error}"))
}

/// One of Postgres's programs, which Debian keeps off the path and which refuse to be root.
fn command(program: &str) -> Command {
    let newest = fs::read_dir("/usr/lib/postgresql").ok().and_then(|versions| {
        versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(program))).max()
    });
    let mut command = Command::new(newest.unwrap_or_else(|| PathBuf::from(program)));
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group).current_dir("/");
    }
    command
}

/// Who runs the server, if this is root.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|user| Some((id(&["-u", user])?, id(&["-g", user])?)))
}
