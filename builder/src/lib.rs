//! Carves immutable appliance images: the pipeline from recipe to signed disk image.
#![forbid(unsafe_code)]

pub mod output;
pub mod run;
