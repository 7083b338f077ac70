//! A request as the layer reads it: where its session id is, and whether it is activity.
//!
//! It uses `rules/` and `cookie/`.

pub(crate) mod activity;
pub(crate) mod extract;
pub(crate) mod head;
