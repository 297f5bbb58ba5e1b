//! What root cannot do on an image of ours, and by what it is refused; and that each of these attacks works where that
//! one thing is missing, so that no refusal is taken for another.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod image;
mod judge;
mod refused;
#[cfg(feature = "full")]
mod relaxed;
#[cfg(feature = "full")]
mod unprotected;
