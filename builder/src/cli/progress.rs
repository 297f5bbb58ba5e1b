//! Progress bars: on a terminal only, and only for work that takes more than a moment.

use std::io::{self, IsTerminal};
use std::time::Duration;

use graven_verity::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts bytes; nothing where standard error is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar for work of unknown length.
    pub(crate) fn bytes(what: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {bytes} ({bytes_per_sec})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Progress for Bar {
    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
