//! Whether a program asks the kernel before it runs a script, told from its code.
//!
//! To ask is to call `execveat` with `AT_EXECVE_CHECK` (`Documentation/userspace-api/check_exec.rst` of Linux 7.3). What is
//! looked for are the numbers that such a call puts into registers, as compilers write it. That a program never does it is
//! as good as certain; that it does what the answer and the securebits say, no reading of numbers can tell.

use std::io;

use graven_image::tree::Content;

use super::Elf;

/// What of asking is in a program's code, or in a library's of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// It can call `execveat`.
    pub execveat: bool,
    /// And hands it `AT_EXECVE_CHECK`.
    pub check: bool,
    /// It can, and reads the securebits, which say whether the answer must be obeyed.
    pub securebits: bool,
}

/// How a program stands to the question whether a script may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// It cannot ask, so any text that it is handed runs.
    Never,
    /// It can call `execveat`, and whether for this cannot be told.
    Perhaps,
    /// It calls `execveat` to ask.
    Asks,
}

impl Asking {
    /// The words for it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Never => "never asks",
            Self::Perhaps => "could ask",
            Self::Asks => "asks",
        }
    }
}

/// `AT_EXECVE_CHECK`, alone and with the flags that may stand beside it: `AT_SYMLINK_NOFOLLOW`, `AT_EMPTY_PATH`.
const CHECKS: [u32; 4] = [0x1_0000, 0x1_0100, 0x1_1000, 0x1_1100];
const PR_GET_SECUREBITS: u32 = 27;

/// System call numbers of a machine.
struct Numbers {
    execveat: u32,
    prctl: u32,
}

impl Numbers {
    /// `e_machine`: x86-64, arm64.
    fn of(machine: u16) -> Option<Self> {
        match machine {
            62 => Some(Self { execveat: 322, prctl: 157 }),
            183 => Some(Self { execveat: 281, prctl: 167 }),
            _ => None,
        }
    }
}

impl Evidence {
    /// Looks through a file's code.
    ///
    /// # Errors
    /// What reading the file says.
    pub(super) fn of(elf: &Elf, content: &Content) -> io::Result<Self> {
        let Some(numbers) = Numbers::of(elf.machine) else {
            return Ok(Self { execveat: elf.takes.execveat, ..Self::default() });
        };
        let loaded = Loaded::of(elf, content, &numbers)?;
        // Who takes nothing from a library has a `syscall` of his own.
        let any_call = elf.takes.syscall || elf.alone;
        let execveat = elf.takes.execveat || loaded.execveat || any_call && loaded.execveat_by_syscall;
        Ok(Self {
            execveat,
            check: execveat && loaded.check,
            // A number as small as this one's means something only in who asks.
            securebits: execveat
                && (loaded.securebits && (elf.takes.prctl || loaded.prctl)
                    || any_call && loaded.securebits_by_syscall && loaded.prctl_by_syscall),
        })
    }

    /// What either shows.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            execveat: self.execveat || other.execveat,
            check: self.check || other.check,
            securebits: self.securebits || other.securebits,
        }
    }

    /// What it comes to.
    #[must_use]
    pub fn asking(self) -> Asking {
        match self {
            Self { execveat: false, .. } => Asking::Never,
            Self { check: false, .. } => Asking::Perhaps,
            Self { check: true, .. } => Asking::Asks,
        }
    }
}

/// Which of the numbers that matter are loaded into the register in which they would.
#[derive(Default)]
struct Loaded {
    execveat: bool,
    execveat_by_syscall: bool,
    check: bool,
    prctl: bool,
    prctl_by_syscall: bool,
    securebits: bool,
    securebits_by_syscall: bool,
}

impl Loaded {
    fn of(elf: &Elf, content: &Content, numbers: &Numbers) -> io::Result<Self> {
        /// Code that is read at a time, and what of it is read once more with the next.
        const WINDOW: u64 = 1 << 20;
        const OVERLAP: u64 = 64;
        let mut loaded = Self::default();
        for code in &elf.code {
            let mut start = code.start;
            while start < code.end {
                let end = start.saturating_add(WINDOW).min(code.end);
                let mut bytes = vec![0; usize::try_from(end - start).unwrap_or_default()];
                content.read_exact_at(&mut bytes, start)?;
                let mut note = |register, value| loaded.note(numbers, register, value);
                match elf.machine {
                    62 => x86_64(&bytes, &mut note),
                    _ => arm64(&bytes, &mut note),
                }
                start = if end == code.end { end } else { end - OVERLAP };
            }
        }
        Ok(loaded)
    }

    fn note(&mut self, numbers: &Numbers, register: Register, value: u32) {
        match register {
            Register::Number => {
                self.execveat |= value == numbers.execveat;
                self.prctl |= value == numbers.prctl;
            }
            Register::Argument(0) => {
                self.execveat_by_syscall |= value == numbers.execveat;
                self.prctl_by_syscall |= value == numbers.prctl;
                self.securebits |= value == PR_GET_SECUREBITS;
            }
            Register::Argument(1) => self.securebits_by_syscall |= value == PR_GET_SECUREBITS,
            // The fifth of `execveat`, the sixth of `syscall`.
            Register::Argument(4 | 5) => self.check |= CHECKS.contains(&value),
            Register::Argument(_) => {}
        }
    }
}

/// A register that is handed on in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    /// The system call's number.
    Number,
    /// An argument, counted from 0.
    Argument(u8),
}

/// Constants that x86-64 code loads. Instructions begin anywhere: every place is tried.
fn x86_64(code: &[u8], each: &mut impl FnMut(Register, u32)) {
    let register = |low: u8, extended: bool| match (low & 7, extended) {
        (0, false) => Some(Register::Number),
        (7, false) => Some(Register::Argument(0)),
        (6, false) => Some(Register::Argument(1)),
        (2, false) => Some(Register::Argument(2)),
        (1, false) => Some(Register::Argument(3)),
        (0, true) => Some(Register::Argument(4)),
        (1, true) => Some(Register::Argument(5)),
        _ => None,
    };
    let word = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default();
    for at in 0..code.len() {
        let (found, value) = match code.get(at..).unwrap_or_default() {
            // mov $imm32,%r8d … %r15d
            [0x41, op @ 0xb8..=0xbf, rest @ ..] if rest.len() >= 4 => (register(*op, true), word(&rest[..4])),
            // mov $imm32,%eax … %edi
            [op @ 0xb8..=0xbf, rest @ ..] if rest.len() >= 4 => (register(*op, false), word(&rest[..4])),
            // mov $imm32,%rax … %r15
            [rex @ (0x48 | 0x49), 0xc7, op @ 0xc0..=0xc7, rest @ ..] if rest.len() >= 4 => {
                (register(*op, *rex == 0x49), word(&rest[..4]))
            }
            // push $imm8; pop %r8 … %r15
            [0x6a, value, 0x41, op @ 0x58..=0x5f, ..] => (register(*op, true), u32::from(*value)),
            // push $imm8; pop %rax … %rdi
            [0x6a, value, op @ 0x58..=0x5f, ..] => (register(*op, false), u32::from(*value)),
            _ => continue,
        };
        if let Some(found) = found {
            each(found, value);
        }
    }
}

/// Constants that arm64 code loads: MOVZ, and MOVK after it.
fn arm64(code: &[u8], each: &mut impl FnMut(Register, u32)) {
    const MOVZ: u32 = 0x5280_0000;
    const MOVK: u32 = 0x7280_0000;
    let mut values = [0u32; 32];
    for word in code.chunks_exact(4) {
        let word = word.try_into().map(u32::from_le_bytes).unwrap_or_default();
        let (number, half) = ((word & 31) as u8, word >> 21 & 3);
        // Bit 31 tells 64 bits from 32; what lies above the low 32 is none of ours.
        let operation = word & 0x7f80_0000;
        if half > 1 || !matches!(operation, MOVZ | MOVK) {
            continue;
        }
        let Some(value) = values.get_mut(usize::from(number)) else { continue };
        let shift = half * 16;
        let kept = if operation == MOVK { *value & !(0xffff << shift) } else { 0 };
        *value = kept | (word >> 5 & 0xffff) << shift;
        match number {
            8 => each(Register::Number, *value),
            0..=7 => each(Register::Argument(number), *value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(machine: fn(&[u8], &mut dyn FnMut(Register, u32)), code: &[u8]) -> Vec<(Register, u32)> {
        let mut all = Vec::new();
        machine(code, &mut |register, value| all.push((register, value)));
        all
    }

    #[test]
    fn constants_are_found_as_assemblers_write_them() {
        // `as`: mov $322,%edi; mov $0x11000,%r9d; mov $27,%rdi; push $27; pop %rdi
        let code = [
            &[0xbf, 0x42, 0x01, 0x00, 0x00][..],
            &[0x41, 0xb9, 0x00, 0x10, 0x01, 0x00],
            &[0x48, 0xc7, 0xc7, 0x1b, 0x00, 0x00, 0x00],
            &[0x6a, 0x1b, 0x5f],
        ];
        let found = loads(|code, mut each| x86_64(code, &mut each), &code.concat());
        for (wanted, value) in [(0, 322), (5, 0x1_1000), (0, 27)] {
            assert!(found.contains(&(Register::Argument(wanted), value)), "{wanted} {value}: {found:?}");
        }
        assert_eq!(found.iter().filter(|one| **one == (Register::Argument(0), 27)).count(), 2);

        // `as`: mov x8,#281; mov w4,#0x1000; movk w4,#1,lsl #16; mov w5,#0x10000
        let code = [0xd280_2328u32, 0x5282_0004, 0x72a0_0024, 0x52a0_0025];
        let code: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        let found = loads(|code, mut each| arm64(code, &mut each), &code);
        let expected = [
            (Register::Number, 281),
            (Register::Argument(4), 0x1000),
            (Register::Argument(4), 0x1_1000),
            (Register::Argument(5), 0x1_0000),
        ];
        assert_eq!(found, expected);
    }
}
