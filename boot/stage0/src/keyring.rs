//! stage0's own keyring, which hands the root hash signature to the kernel.

use std::ffi::CString;
use std::io;

use graven_handoff::Code;

use crate::failure::{Failure, OrFail};
use crate::sys::{self, KeyOperation, THREAD_KEYRING};

/// This thread's keyring. It ends with the exec of init, and is cleared before.
pub(crate) struct Keyring;

/// A key in it, known to the kernel by its description.
pub(crate) struct UserKey {
    number: sys::Key,
}

impl Keyring {
    /// Adds a key that kernel code finds by `description`.
    pub(crate) fn add(&self, description: &str, payload: &[u8]) -> io::Result<UserKey> {
        let description = CString::new(description)?;
        sys::add_user_key(&description, payload, THREAD_KEYRING).map(|number| UserKey { number })
    }

    /// Empties the keyring.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        sys::keyctl(KeyOperation::Clear, THREAD_KEYRING).or_fail(Code::Keyrings, "the thread keyring")
    }
}

impl UserKey {
    /// Makes the key useless at once.
    pub(crate) fn revoke(self) -> io::Result<()> {
        sys::keyctl(KeyOperation::Revoke, self.number)
    }
}
