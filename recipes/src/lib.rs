//! The recipe of an appliance image.
#![forbid(unsafe_code)]
