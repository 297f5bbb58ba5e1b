//! The offline proof of an image.
#![forbid(unsafe_code)]

pub mod manifest;
pub mod report;
