//! A machine in which the kernel decides: Debian's, with everything that a policy can be asked about in every place in
//! which it can lie, and with all its audit records.

mod agree;
mod machine;
pub mod policies;
mod site;

use graven_ipe::{Action, Hook, Op, Policy};

pub use agree::{Answer, Question, agree};
pub use machine::decide;
pub use site::{PLACES, Place, Site};

/// What the kernel asks its policy, and by which words it tells what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Which operation.
    pub op: Op,
    /// Where in the kernel.
    pub hook: Hook,
    /// The file's path as the kernel tells it, `?` where there is none.
    pub path: String,
    /// The rule or default, as audit records have it.
    pub rule: String,
}

/// One thing that was tried while a policy was the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The policy's number.
    pub policy: usize,
    /// Whether it was enforced.
    pub enforcing: bool,
    /// A place's name, `none` where there is no file.
    pub place: String,
    /// The way's name.
    pub way: String,
    /// `0`, an errno's name, or `killed`.
    pub result: String,
    /// What the kernel recorded, in its order.
    pub decisions: Vec<Decision>,
}

/// A way in which something is tried.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Its name.
    pub name: &'static str,
    /// What the kernel asks, one after the other, until something is denied.
    asks: &'static [(Op, Hook, Subject)],
    /// What comes of it where all is allowed.
    allowed: &'static str,
    /// What comes of it where the last question is answered with no.
    denied: &'static str,
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// The file of that name in the place.
    File(&'static str),
    /// The interpreter of the script, which lies on the signed root.
    Interpreter,
    /// No file.
    Nothing,
}

use Subject::{File, Interpreter, Nothing};

/// What is tried; `tests/src/guest/ways.c` does it.
#[rustfmt::skip]
pub const WAYS: [Way; 16] = [
    way("exec", &[(Op::Execute, Hook::BprmCheck, File("program")), (Op::Execute, Hook::Mmap, File("program"))], "0", "EACCES"),
    way("exec-script", &[
        (Op::Execute, Hook::BprmCheck, File("script")),
        (Op::Execute, Hook::BprmCheck, Interpreter),
        (Op::Execute, Hook::Mmap, Interpreter),
    ], "0", "EACCES"),
    way("check", &[(Op::Execute, Hook::BprmCredsForExec, File("program"))], "0", "EACCES"),
    way("check-script", &[(Op::Execute, Hook::BprmCredsForExec, File("script"))], "0", "EACCES"),
    way("mmap", &[(Op::Execute, Hook::Mmap, File("program"))], "0", "EACCES"),
    way("mprotect", &[(Op::Execute, Hook::Mprotect, File("program"))], "0", "EACCES"),
    way("finit-module", &[(Op::Kmodule, Hook::KernelRead, File("module.ko"))], "0", "EACCES"),
    way("finit-module-packed", &[(Op::Kmodule, Hook::KernelRead, File("module.ko.xz"))], "0", "EACCES"),
    // A file that may not be read is one that is not there.
    way("firmware", &[(Op::Firmware, Hook::KernelRead, File("firmware.bin"))], "0", "ENOENT"),
    // No kernel, and no policy of IMA's: what they are is looked at after the policy was asked.
    way("kexec-file", &[(Op::KexecImage, Hook::KernelRead, File("kernel"))], "ENOEXEC", "EACCES"),
    way("ima-policy", &[(Op::Policy, Hook::KernelRead, File("ima-policy"))], "EINVAL", "EACCES"),
    way("mmap-anonymous", &[(Op::Execute, Hook::Mmap, Nothing)], "0", "EACCES"),
    way("mprotect-anonymous", &[(Op::Execute, Hook::Mprotect, Nothing)], "0", "EACCES"),
    way("init-module", &[(Op::Kmodule, Hook::KernelLoad, Nothing)], "0", "EACCES"),
    // Nobody hands the bytes over.
    way("firmware-bytes", &[(Op::Firmware, Hook::KernelLoad, Nothing)], "ENOENT", "ENOENT"),
    // IMA refuses it after the policy: a rule that it has wherever Secure Boot is on.
    way("kexec", &[(Op::KexecImage, Hook::KernelLoad, Nothing)], "EACCES", "EACCES"),
];

const fn way(
    name: &'static str,
    asks: &'static [(Op, Hook, Subject)],
    allowed: &'static str,
    denied: &'static str,
) -> Way {
    Way { name, asks, allowed, denied }
}

impl Way {
    /// Whether it is tried there.
    pub fn is_tried(&self, place: Option<&Place>) -> bool {
        let with_file = self.asks.iter().any(|(.., subject)| *subject != Nothing);
        // The kernel looks for firmware in a folder.
        with_file == place.is_some()
            && place.is_none_or(|place| self.name != "firmware" || place.folder.is_some())
    }

    /// What our evaluator says the kernel will decide and do.
    pub fn expected(
        &self,
        site: &Site,
        place: Option<&Place>,
        (number, policy): (usize, &Policy),
        enforcing: bool,
    ) -> Tried {
        let mut decisions = Vec::new();
        let mut result = self.allowed;
        for (op, hook, subject) in self.asks {
            let (facts, path) = match (subject, place) {
                (File(file), Some(place)) => {
                    (site.facts(place, file, *hook), place.audited_path(file, *hook))
                }
                (Interpreter, _) => {
                    (site.facts(&PLACES[1], "program", *hook), PLACES[1].audited_path("program", *hook))
                }
                (File(_) | Nothing, _) => (graven_ipe::Facts::default(), "?".to_owned()),
            };
            let verdict = policy.evaluate(*op, &facts);
            decisions.push(Decision { op: *op, hook: *hook, path, rule: policy.audited(*op, verdict) });
            if enforcing && verdict.action == Action::Deny {
                // The program has taken the place of the old one by then.
                let late = *hook == Hook::Mmap && self.asks.len() > 1;
                result = if late { "killed" } else { self.denied };
                break;
            }
        }
        let place = place.map_or("none", |place| place.name).to_owned();
        let (way, result) = (self.name.to_owned(), result.to_owned());
        Tried { policy: number, enforcing, place, way, result, decisions }
    }
}
