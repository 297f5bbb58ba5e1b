//! What a board is: architecture, boot chain, limits of its firmware.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// A processor architecture that images are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 32-bit ARM: known, so that it can be refused with a clear word.
    #[serde(rename = "arm")]
    Arm,
}
