//! What outlives a boot: made on the first one, grown to the disk, bound closed; and what happens when it is damaged, full,
//! or cut off from its power.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod damage;
mod device;
mod proof;
mod provision;
mod reboot;
mod successor;
mod verity;
