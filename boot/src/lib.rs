//! Boot artefacts and signatures.
#![forbid(unsafe_code)]
