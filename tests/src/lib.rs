//! Whole-system tests: oracles, boots, hostile inputs, reproducibility.
#![forbid(unsafe_code)]
