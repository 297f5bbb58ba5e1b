//! How far long work has come.

/// Told of work as it is done, from any thread.
pub trait Progress: Sync {
    /// Another `bytes` bytes of the source have been dealt with.
    fn advance(&self, bytes: u64);
}

impl<F: Fn(u64) + Sync> Progress for F {
    fn advance(&self, bytes: u64) {
        self(bytes);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn advance(&self, _bytes: u64) {}
}
