//! What can keep a file of the root from running, each kind with a code that stays.

use std::fmt;

use graven_ipe::lint::Severity;

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: String,
    /// What is wrong: one sentence.
    pub message: String,
}

impl Problem {
    pub(super) fn new(code: Code, path: &str, message: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), path: path.to_owned(), message: message.into() }
    }

    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }
}

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $code:literal, $name:literal, $severity:ident;)+) => {
        /// What kind of thing is found. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Code {
            /// All of them, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Its name: a few words joined by `-`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How bad it is, unless the problem says otherwise.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning,)+).trim_start(),)+ }
            }
        }
    };
}

codes! {
    /// The interpreter of a script or the loader of a program is not there.
    NoInterpreter = "RUN-01", "no-interpreter", Error;
    /// The kernel cannot start the interpreter: no exec bit, no file, or too many behind each other.
    BadInterpreter = "RUN-02", "bad-interpreter", Error;
    /// The first line of a script is none that the kernel takes.
    BadLine = "RUN-03", "bad-line", Error;
    /// A library that a program wants is nowhere where its loader looks.
    NoLibrary = "RUN-04", "no-library", Error;
    /// PT_GNU_STACK asks for an executable stack, which a policy that denies by default refuses.
    ExecutableStack = "RUN-05", "executable-stack", Error;
    /// A segment is writable and executable at once, which stage0 forbids to every process.
    WritableCode = "RUN-06", "writable-code", Error;
    /// Code is written to while it is loaded, which stage0 forbids to every process.
    TextRelocations = "RUN-07", "text-relocations", Error;
    /// The program runs with its owner's or group's rights, whoever starts it.
    SetId = "RUN-08", "set-id", Note;
    /// The program makes code in memory, which a policy that denies by default refuses.
    CodeMaker = "RUN-09", "code-maker", Warning;
    /// A service wants what stage0 takes away from every process.
    NeedsTaken = "RUN-10", "needs-taken", Warning;
    /// A script without an exec bit: an interpreter that asks the kernel would refuse it.
    NoExecBit = "RUN-11", "no-exec-bit", Note;
    /// An interpreter that asks the kernel loads files as code that have no exec bit: it is refused them.
    LibraryWithoutExecBit = "RUN-12", "library-without-exec-bit", Note;
    /// A writable file system is mounted without noexec.
    ExecutableMount = "RUN-13", "executable-mount", Note;
    /// An interpreter runs with its owner's or group's rights, and so does every script that it is handed.
    SetIdInterpreter = "RUN-14", "set-id-interpreter", Error;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
