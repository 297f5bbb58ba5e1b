//! Container images: layers go over each other as the specification has it, and nothing that is not what a digest says gets
//! in, from a layout or from a registry.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

mod archives;
mod documents;
mod layers;
mod maker;
mod model;
mod registry;
#[path = "../repositories/server.rs"]
mod server;
