//! The system call filter that refuses device-mapper ioctls.
//!
//! Whoever can load a device-mapper table can publish the genuine root hash for a device with other content
//! (`ignore_corruption`), and IPE believes the device. The filter is inherited by every process and cannot be removed.

use graven_handoff::Code;

use crate::failure::{Failure, OrFail};
use crate::sys::{self, Instruction};

/// One way of entering the kernel, and its numbers for `ioctl`.
struct Abi {
    /// `AUDIT_ARCH_*`: the ELF machine, and flags for 64 bits and little-endian.
    arch: u32,
    /// Bits of the system call number that do not count.
    ignored: u32,
    ioctl: &'static [u32],
}

/// The ways into an x86-64 kernel.
#[cfg(any(target_arch = "x86_64", test))]
const X86_64: &[Abi] = &[
    // x32 shares the architecture, sets bit 30 and has an ioctl of its own; both numbers are refused with the bit and
    // without it.
    Abi { arch: 0xc000_003e, ignored: 0x4000_0000, ioctl: &[16, 514] },
    // i386
    Abi { arch: 0x4000_0003, ignored: 0, ioctl: &[54] },
];

/// The ways into an arm64 kernel.
#[cfg(any(target_arch = "aarch64", test))]
const AARCH64: &[Abi] = &[
    Abi { arch: 0xc000_00b7, ignored: 0, ioctl: &[29] },
    // 32-bit ARM: EABI alone, which is all that an arm64 kernel has.
    Abi { arch: 0x4000_0028, ignored: 0, ioctl: &[54] },
];

#[cfg(target_arch = "x86_64")]
const OWN: &[Abi] = X86_64;
#[cfg(target_arch = "aarch64")]
const OWN: &[Abi] = AARCH64;

/// Classic BPF (`include/uapi/linux/bpf_common.h`, `filter.h`).
mod code {
    pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    pub(super) const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
    pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K
}

/// Offsets in `struct seccomp_data`.
mod at {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCH: u32 = 4;
    /// The low half of the second argument: the kernel cuts an ioctl's request to 32 bits.
    pub(super) const REQUEST: u32 = if cfg!(target_endian = "little") { 24 } else { 28 };
}

const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO` with EPERM.
const REFUSE: u32 = 0x0005_0001;
/// `SECCOMP_RET_KILL_PROCESS`, for ways into the kernel that this list does not know.
const KILL: u32 = 0x8000_0000;

/// The type byte of device-mapper requests (`DM_IOCTL`), and where it is.
const TYPE_MASK: u32 = 0xff00;
const DM_TYPE: u32 = 0xfd00;

/// Installs the filter, then tries it.
pub(super) fn refuse_device_mapper() -> Result<(), Failure> {
    sys::install_filter(&program(OWN)).or_fail(Code::SystemCallFilter, "seccomp")?;
    let control =
        std::fs::File::open("/dev/mapper/control").or_fail(Code::SystemCallFilter, "control device")?;
    match refused_for(&control) {
        true => Ok(()),
        false => Err(Failure::new(Code::SystemCallFilter, "device-mapper ioctls still reach the kernel")),
    }
}

/// Whether DM_VERSION, which the device-mapper always answers, comes back as the filter's error.
fn refused_for(file: &std::fs::File) -> bool {
    const VERSION: u32 = 0xc138_fd00;
    let mut message = vec![0; 312];
    message.splice(0..4, 4u32.to_ne_bytes());
    message.splice(12..16, 312u32.to_ne_bytes());
    let error = sys::dm_ioctl(file, VERSION, &mut message).err();
    error.and_then(|error| rustix::io::Errno::from_io_error(&error)) == Some(rustix::io::Errno::PERM)
}

fn program(abis: &[Abi]) -> Vec<Instruction> {
    let op = |code, value| Instruction { code, if_true: 0, if_false: 0, value };
    let mut program = vec![op(code::LOAD, at::ARCH)];
    for abi in abis {
        let body = body(abi);
        // Skips this architecture's part; it is far shorter than a jump can be.
        let skip = u8::try_from(body.len()).unwrap_or(u8::MAX);
        program.push(Instruction { code: code::JUMP_EQUAL, if_true: 0, if_false: skip, value: abi.arch });
        program.extend(body);
    }
    program.push(op(code::RETURN, KILL));
    program
}

/// What follows when the architecture is this one; every path ends in a return.
fn body(abi: &Abi) -> Vec<Instruction> {
    let op = |code, value| Instruction { code, if_true: 0, if_false: 0, value };
    let mut body = vec![op(code::LOAD, at::NUMBER)];
    if abi.ignored != 0 {
        body.push(op(code::AND, !abi.ignored));
    }
    for number in abi.ioctl {
        // Equal: to the jump behind this instruction; else over it, to the next number.
        body.push(Instruction { code: code::JUMP_EQUAL, if_true: 0, if_false: 1, value: *number });
        body.push(op(code::JUMP, 0));
    }
    let target = body.len();
    for (index, instruction) in body.iter_mut().enumerate() {
        if instruction.code == code::JUMP {
            // Over the rest of the numbers and the return that ends them.
            instruction.value = u32::try_from(target.saturating_sub(index)).unwrap_or(u32::MAX);
        }
    }
    body.extend([
        op(code::RETURN, ALLOW),
        op(code::LOAD, at::REQUEST),
        op(code::AND, TYPE_MASK),
        Instruction { code: code::JUMP_EQUAL, if_true: 0, if_false: 1, value: DM_TYPE },
        op(code::RETURN, REFUSE),
        op(code::RETURN, ALLOW),
    ]);
    body
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// The kernel's interpretation of the instructions used here.
    fn run(abis: &[Abi], arch: u32, number: u32, request: u64) -> u32 {
        let mut data = Vec::new();
        data.extend_from_slice(&number.to_le_bytes());
        data.extend_from_slice(&arch.to_le_bytes());
        data.extend_from_slice(&[0; 8]); // instruction pointer
        data.extend_from_slice(&3u64.to_le_bytes());
        data.extend_from_slice(&request.to_le_bytes());
        data.resize(64, 0);
        let program = program(abis);
        let (mut at, mut word) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, value } = program[at];
            at += 1;
            match code {
                code::LOAD => {
                    let offset = value as usize;
                    word = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                code::AND => word &= value,
                code::JUMP_EQUAL => at += usize::from(if word == value { if_true } else { if_false }),
                code::JUMP => at += value as usize,
                code::RETURN => return value,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    const KERNELS: [&[Abi]; 2] = [X86_64, AARCH64];

    #[test]
    fn every_abis_device_mapper_ioctl_is_refused_and_nothing_else() {
        for abis in KERNELS {
            for abi in abis {
                for number in 0..600u32 {
                    for flag in [0, abi.ignored] {
                        let expected = if abi.ioctl.contains(&number) { REFUSE } else { ALLOW };
                        let run = |request| run(abis, abi.arch, number | flag, request);
                        assert_eq!(run(0xc138_fd09), expected, "{:#x} {number}", abi.arch);
                        assert_eq!(run(0x5401), ALLOW, "{:#x} {number}", abi.arch);
                    }
                }
            }
        }
    }

    #[test]
    fn only_the_low_half_of_the_request_counts() {
        for abis in KERNELS {
            for Abi { arch, ioctl, .. } in abis {
                let run = |request| run(abis, *arch, ioctl[0], request);
                for high in [0, 0xffff_ffff_0000_0000, 0xfd00_0000_0000] {
                    assert_eq!(run(high | 0x0000_fd00), REFUSE);
                    assert_eq!(run(high | 0x00fd_5400), ALLOW);
                }
                for command in 0..=0xff {
                    assert_eq!(run(0xfd00 | command), REFUSE);
                }
            }
        }
    }

    #[test]
    fn unknown_ways_into_the_kernel_are_closed() {
        // Those of the other architecture, and s390x's.
        for (abis, others) in [(X86_64, AARCH64), (AARCH64, X86_64)] {
            for arch in others.iter().map(|abi| abi.arch).chain([0x8000_0016]) {
                assert_eq!(run(abis, arch, 54, 0), KILL, "{arch:#x}");
            }
        }
    }

    #[test]
    fn the_running_kernel_takes_the_filter_and_obeys_it() {
        // A filter holds for the thread that installs it. The thread gives up gaining privileges, which is what an
        // ordinary user must do to be allowed a filter.
        let outcome = std::thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            let file = std::fs::File::open("/dev/null").unwrap();
            let before = refused_for(&file);
            sys::install_filter(&program(OWN)).unwrap();
            (before, refused_for(&file), std::fs::read("/proc/self/stat").is_ok())
        });
        assert_eq!(outcome.join().unwrap(), (false, true, true));
    }
}
