//! Carves immutable appliance images.
#![forbid(unsafe_code)]
