//! Stopping: one line with a code, then what the plan says.

use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use graven_handoff::{Code, OnFailure};
use rustix::system::{RebootCommand, reboot};

use crate::log;

/// Why stage0 cannot go on.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    detail: String,
}

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Display) -> Self {
        Failure { code, detail: detail.to_string() }
    }

    /// The same, of this thing among several.
    pub(crate) fn of(self, what: impl Display) -> Self {
        Failure { detail: format!("{what}: {}", self.detail), ..self }
    }

    /// `graven: stage0: S0-nn meaning: detail (remedy)`
    fn line(&self) -> String {
        format!(
            "graven: stage0: {} {}: {} ({})",
            self.code,
            self.code.meaning(),
            self.detail,
            self.code.remedy()
        )
    }

    /// Says it where it is no reason to stop: `graven: stage0: warning: S0-nn meaning: detail; instead`.
    pub(crate) fn warn(&self, instead: &str) {
        log::warning(&format!("{} {}: {}; {instead}", self.code, self.code.meaning(), self.detail));
    }

    /// Whether it has this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// What happened, without its code.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// Says why, then reboots, switches off or halts.
    pub(crate) fn stop(self) -> ! {
        if self.code == Code::NotInit {
            eprintln!("{}", self.line());
            std::process::exit(1);
        }
        log::emergency(&self.line());
        // Makes the kernel hand its log to pstore at a shutdown too, not only at a panic. Where that cannot be done,
        // the line has still been on the console.
        let _ = std::fs::write("/sys/module/printk/parameters/always_kmsg_dump", "Y");
        rustix::fs::sync();
        // Consoles may be written to by a kernel thread.
        std::thread::sleep(PRINTING_TIME);
        let command = match ON_FAILURE.load(Ordering::Relaxed) {
            REBOOT => RebootCommand::Restart,
            POWEROFF => RebootCommand::PowerOff,
            HALT => RebootCommand::Halt,
            _ => {
                std::thread::sleep(READING_TIME);
                RebootCommand::Restart
            }
        };
        let error = reboot(command);
        log::emergency(&format!("graven: stage0: the machine does not stop: {error:?}"));
        // The first process must not end, and nothing else may run.
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// How long the line stays on the screen where no plan says what to do.
const READING_TIME: Duration = Duration::from_secs(5);

/// For a slow serial line to carry the message to its end.
const PRINTING_TIME: Duration = Duration::from_millis(300);

const REBOOT: u8 = 1;
const POWEROFF: u8 = 2;
const HALT: u8 = 3;
static ON_FAILURE: AtomicU8 = AtomicU8::new(0);

/// From here on a failure does what the plan says.
pub(crate) fn act_as(on_failure: OnFailure) {
    let number = match on_failure {
        OnFailure::Reboot => REBOOT,
        OnFailure::Poweroff => POWEROFF,
        OnFailure::Halt => HALT,
    };
    ON_FAILURE.store(number, Ordering::Relaxed);
}

/// A panic is a failure like others.
pub(crate) fn stop_on_panic() {
    std::panic::set_hook(Box::new(|panic| Failure::new(Code::Internal, panic).stop()));
}

/// Turns an error into a failure with a code and what was being done.
pub(crate) trait OrFail<T> {
    fn or_fail(self, code: Code, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: Code, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(code, format!("{what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_code_meaning_detail_and_remedy() {
        let failure = Err::<(), _>("not there").or_fail(Code::PolicyBlob, "/graven/policy.p7b").unwrap_err();
        assert_eq!(
            failure.line(),
            "graven: stage0: S0-50 the signed policy is missing from the initramfs: \
             /graven/policy.p7b: not there (build the image again)"
        );
    }
}
