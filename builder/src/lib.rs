//! Carves immutable appliance images: the pipeline from recipe to signed disk image.
//!
//! [`build::build`] is the whole of it on one page.
#![forbid(unsafe_code)]

pub mod assemble;
pub mod build;
pub mod deliver;
pub mod device;
pub mod error;
pub mod firmware;
pub mod flash;
pub mod hash_area;
mod identity;
mod inputs;
pub mod kernel;
pub mod layout;
pub mod link;
pub mod output;
mod packed;
mod people;
mod places;
pub mod plan;
pub mod policy;
pub mod rebuild;
pub mod root;
pub mod run;
pub mod scripts;
pub mod seal;
pub mod signers;
mod sources;
pub mod stage0;
mod state;
pub mod supply;
mod terminal;
pub mod tools;
pub mod volume;
