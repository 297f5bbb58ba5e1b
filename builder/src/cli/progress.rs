//! Progress bars: on a terminal only, and only for work that takes more than a moment. One for the build, one for each
//! download.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use graven_sources::network::{Meter, Watch};
use graven_verity::progress::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done before this has passed shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

const WITHOUT_END: &str = "{spinner} {msg}: {decimal_bytes} ({decimal_bytes_per_sec})";
const WITH_END: &str =
    "{msg} [{bar:30}] {decimal_bytes} of {decimal_total_bytes} ({decimal_bytes_per_sec}, {eta} left)";

/// A bar that counts bytes; nothing where standard error is no terminal.
pub(crate) struct Bar(Option<Shown>);

struct Shown {
    bar: ProgressBar,
    since: Instant,
    visible: AtomicBool,
}

impl Bar {
    /// A bar for work of unknown length.
    pub(crate) fn bytes(what: &'static str) -> Self {
        Self::new(ProgressBar::hidden(), WITHOUT_END, what)
    }

    /// A bar for work on `total` bytes.
    pub(crate) fn of(total: u64, what: &'static str) -> Self {
        Self::new(ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()), WITH_END, what)
    }

    fn new(bar: ProgressBar, template: &str, what: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(Some(Shown { bar, since: Instant::now(), visible: AtomicBool::new(false) }))
    }
}

impl Progress for Bar {
    fn advance(&self, bytes: u64) {
        let Some(shown) = &self.0 else { return };
        shown.bar.inc(bytes);
        let due = !shown.visible.load(Ordering::Relaxed) && shown.since.elapsed() >= PATIENCE;
        if due && !shown.visible.swap(true, Ordering::Relaxed) {
            shown.bar.set_draw_target(ProgressDrawTarget::stderr());
            shown.bar.enable_steady_tick(Duration::from_millis(100));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(shown) = &self.0 {
            shown.bar.finish_and_clear();
        }
    }
}

/// A bar for each download.
pub(crate) struct Downloads(MultiProgress);

impl Downloads {
    pub(crate) fn new() -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Writes a line to standard error, above the bars where there are any.
    pub(crate) fn say(&self, line: &str) {
        self.0.suspend(|| eprintln!("graven: {line}"));
    }
}

impl Watch for Downloads {
    fn begin(&self, name: &str, size: u64) -> Box<dyn Meter + '_> {
        let bar = self.0.add(ProgressBar::new(size).with_message(name.to_owned()));
        let template = "{msg:40!} {bar:30} {bytes:>10} of {total_bytes:<10} {bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Box::new(DownloadBar(bar))
    }
}

struct DownloadBar(ProgressBar);

impl Meter for DownloadBar {
    fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for DownloadBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
