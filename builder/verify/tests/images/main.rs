//! Whole images, small ones, made with the crates themselves and then changed: one program, so that keys are made once.
#![allow(clippy::unwrap_used)]

mod diff;
mod extract;
mod hostile;
mod image;
mod tamper;
