//! The contract between the builder and stage0.
#![forbid(unsafe_code)]
