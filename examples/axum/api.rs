//! For programs.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Body,
    http::StatusCode,
    response::sse::{Event, Sse},
};
use serde_json::{Value, json};
use tokio::time;
use tokio_stream::{Stream, StreamExt, wrappers::IntervalStream};

use crate::user::User;

pub(crate) async fn me(user: User) -> Json<Value> {
    Json(json!({ "user": user.name.as_str(), "remaining_seconds": user.remaining.as_secs() }))
}

pub(crate) async fn poll(user: User) -> Json<Value> {
    Json(json!({ "remaining_seconds": user.remaining.as_secs() }))
}

pub(crate) async fn events(_: User) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut count = 0_u64;
    Sse::new(IntervalStream::new(time::interval(Duration::from_millis(500))).map(move |_| {
        count += 1;
        Ok(Event::default().data(count.to_string()))
    }))
}

/// axum limits the length of what it collects, but hands out a plain `Body` whatever its length.
pub(crate) async fn upload(_: User, body: Body) -> Result<Json<Value>, StatusCode> {
    let mut chunks = body.into_data_stream();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        length += chunk.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(Json(json!({ "length": length })))
}
