//! Boots that must not get to the image's init: who stops them, and how it says so.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use graven::run::Machine;
use graven_handoff::Code;

use crate::guest::Guest;

/// What `recipes/minimal` says when its init runs.
pub const UP: &str = "minimal: up";
/// What systemd says when it is an image's init.
const SYSTEMD: &str = "running in system mode";

/// Who stops a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The firmware: the boot artefact's signature is not one that `db` vouches for.
    Firmware,
    /// The boot artefact itself, before Linux has its first line out, with these words.
    Loader(&'static str),
    /// U-Boot, with these words.
    UBoot(&'static str),
    /// The kernel, by a panic with these words in its line.
    Kernel(&'static str),
    /// stage0, with this code.
    Stage0(Code),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firmware => f.write_str("the firmware"),
            Self::Loader(words) => write!(f, "the boot artefact («{words}»)"),
            Self::UBoot(words) => write!(f, "U-Boot («{words}»)"),
            Self::Kernel(words) => write!(f, "the kernel («{words}»)"),
            Self::Stage0(code) => write!(f, "stage0 with {code}"),
        }
    }
}

/// How long a boot may take to its refusal: less than to a prompt, since a machine that stands still is tried again.
const LONGEST: Duration = Duration::from_secs(180);
/// What firmware says of an image whose signature `db` does not vouch for: EDK2 by version.
const DENIED: [&str; 2] = ["Access Denied", "Security Violation"];
pub(crate) const PANIC: &str = "Kernel panic - not syncing: ";
const STAGE0: &str = "graven: stage0: S0-";

/// Boots a machine that must be stopped, and answers its console.
pub fn assert_stopped(machine: &Machine, by: Stop) -> String {
    let mut log = boot(machine, by);
    if unlucky(&log) {
        eprintln!(
            "QEMU's emulation stumbled in the early boot (an int3 in sched_clock_tick); booting once more"
        );
        log = boot(machine, by);
    }
    assert!(
        !log.contains(UP) && !log.contains(SYSTEMD),
        "the image's init ran; expected that {by} stops the boot:\n{log}"
    );
    match by {
        Stop::Firmware => {
            assert!(DENIED.iter().any(|words| log.contains(words)), "expected {by}:\n{log}");
            assert!(!log.contains("Linux version"), "the kernel started all the same:\n{log}");
        }
        Stop::Loader(words) | Stop::UBoot(words) => {
            assert!(log.contains(words), "expected {by}:\n{log}");
            assert!(!log.contains("Linux version"), "the kernel started all the same:\n{log}");
        }
        Stop::Kernel(words) => {
            let panic = log.lines().find(|line| line.contains(PANIC));
            assert!(panic.is_some_and(|line| line.contains(words)), "expected {by}:\n{log}");
        }
        Stop::Stage0(code) => {
            let first = log.split_once(STAGE0).map(|(_, rest)| rest.get(..2).unwrap_or_default());
            assert_eq!(first, Some(&format!("{:02}", code.number())[..]), "expected {by}:\n{log}");
        }
    }
    log
}

/// Boots one machine at a time, until something ends the boot or has it reach the image's init.
fn boot(machine: &Machine, by: Stop) -> String {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut guest = Guest::start(machine);
    let mut ends = vec![UP, PANIC, STAGE0, SYSTEMD, DENIED[0], DENIED[1]];
    if let Stop::Loader(words) | Stop::UBoot(words) = by {
        ends.push(words);
    }
    match guest.console.wait_for_one_of(&ends, LONGEST) {
        // A refused boot ends the machine; nothing else may start meanwhile.
        Ok(Some(2)) => drop(guest.expect_end(Duration::from_secs(60))),
        // The rest of the line.
        Ok(Some(_)) => drop(guest.console.wait_for("\n", Duration::from_secs(10))),
        // The machine ended, or says no more: what it said shows that nobody stopped it as expected.
        Ok(None) | Err(_) => {}
    }
    guest.stop()
}

/// QEMU 7.2 with a thread for each emulated processor now and then runs a half-written instruction while Linux patches
/// itself (a panic by an int3), or stands still when the second processor comes up: before any process runs.
pub(crate) fn unlucky(log: &str) -> bool {
    let judged = [UP, STAGE0, "graven: stage0: step", "Run /init as init process", DENIED[0], DENIED[1]];
    let stumbled = match log.contains(PANIC) {
        // The second where the emulator itself got no time.
        true => log.contains("int3") || log.contains("IO-APIC + timer doesn't work"),
        false => log.contains("Linux version"),
    };
    stumbled && !judged.iter().any(|words| log.contains(words))
}
