//! HTTP/1 and HTTP/2 on one port, with hyper, until the program is told to stop.

use std::{convert::Infallible, error::Error, pin::pin, time::Duration};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time};
use tower::Service;

use self::signals::told_to_stop;

#[path = "signals.rs"]
mod signals;

/// How long an answer may go on once the program is told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Every connection gets a clone of the service: with the layer in it, they share the layer's sessions.
pub(crate) async fn serve<S, B>(listen: &str, service: S) -> Result<(), Box<dyn Error>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let listener =
        TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper waits for a request's head for as long as the client likes.
    server.http1().timer(TokioTimer::new()).http2().timer(TokioTimer::new());
    let service = TowerToHyperService::new(service);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(told_to_stop());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, say: that passes.
                eprintln!("cannot accept a connection: {error}");
                time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let connection =
            server.serve_connection_with_upgrades(TokioIo::new(stream), service.clone()).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection failed: {error}");
            }
        });
    }
    tokio::select! {
        () = connections.shutdown() => {}
        () = time::sleep(SHUTDOWN_GRACE) => {}
    }
    Ok(())
}
