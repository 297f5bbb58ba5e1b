//! Where trees come from: folders, archives, packages.
#![forbid(unsafe_code)]
