//! One binary, for each would link every library again; a file for each behaviour.
//! `cargo test --all-features in_flight` runs those of one file.

mod support;

mod activity;
mod axum_extractor;
mod begin_rotate_end;
mod cached;
mod chunk_libraries;
mod chunked_cookies;
mod client_endpoints;
mod configuration;
mod conformance;
mod cookies;
mod events;
mod idle_and_absolute;
mod in_flight;
mod interleavings;
mod layer_order;
mod log;
mod memory_store;
mod other_ids;
mod owners;
mod parsers;
mod properties;
mod public_pages;
mod reconnecting;
mod redis;
mod redis_cluster;
mod redis_faults;
mod redis_sentinel;
mod responses;
mod return_to;
mod rotation;
mod secrecy;
mod session_libraries;
mod set_cookies;
mod simulation;
mod sliding_cookie;
mod snapshot;
mod stateless;
mod streams;
mod tonic;
mod tower_contract;
mod verified_tokens;
mod websocket;
