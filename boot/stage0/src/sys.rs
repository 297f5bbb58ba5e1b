//! The system calls that `rustix` has no wrapper for.

use std::ffi::{CStr, c_long, c_ulong};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const IOCTL: i64 = 16;
    pub(super) const PRCTL: i64 = 157;
    pub(super) const ADD_KEY: i64 = 248;
    pub(super) const KEYCTL: i64 = 250;
    pub(super) const SECCOMP: i64 = 317;
    pub(super) const EXECVEAT: i64 = 322;
    pub(super) const CLOSE_RANGE: i64 = 436;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const IOCTL: i64 = 29;
    pub(super) const PRCTL: i64 = 167;
    pub(super) const ADD_KEY: i64 = 217;
    pub(super) const KEYCTL: i64 = 219;
    pub(super) const SECCOMP: i64 = 277;
    pub(super) const EXECVEAT: i64 = 281;
    pub(super) const CLOSE_RANGE: i64 = 436;
}

/// Calls the kernel with five words.
///
/// # Safety
///
/// What the words mean to this system call must be allowed: pointers valid for as long and as many bytes as it uses.
unsafe fn call(number: i64, words: [c_ulong; 5]) -> io::Result<i64> {
    let [a, b, c, d, e] = words;
    // SAFETY: `syscall` passes its arguments on unchanged; what they must fulfil is this function's own condition.
    match unsafe { syscall(number, a, b, c, d, e) } {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// A device-mapper ioctl; `message` is the `dm_ioctl` structure, whose own length field must be its length.
pub(crate) fn dm_ioctl(control: &File, request: u32, message: &mut [u8]) -> io::Result<()> {
    let length = message.get(12..16).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    if length.and_then(|length| usize::try_from(length).ok()) != Some(message.len()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let fd = c_ulong::try_from(control.as_raw_fd()).map_err(io::Error::other)?;
    let words = [fd, c_ulong::from(request), message.as_mut_ptr() as c_ulong, 0, 0];
    // SAFETY: the kernel reads and writes at most the number of bytes that the message's length field says, which was
    // just compared with the length of the slice that is borrowed for the whole call.
    unsafe { call(number::IOCTL, words) }.map(drop)
}

/// Grows a mounted ext4 to this many blocks; `folder` is its top folder.
pub(crate) fn grow_ext4(folder: &File, blocks: u64) -> io::Result<()> {
    /// `_IOW('f', 16, __u64)` (`include/uapi/linux/ext4.h`)
    const RESIZE_FS: c_ulong = 0x4008_6610;
    let fd = c_ulong::try_from(folder.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: ext4 reads eight bytes, which live until the call returns; another file system refuses the request.
    unsafe { call(number::IOCTL, [fd, RESIZE_FS, &raw const blocks as c_ulong, 0, 0]) }.map(drop)
}

/// `struct blkpg_partition` (`include/uapi/linux/blkpg.h`): place and length in bytes.
#[repr(C)]
struct BlockPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`
#[repr(C)]
struct BlockPartitionRequest {
    operation: i32,
    flags: i32,
    length: i32,
    data: *const BlockPartition,
}

/// Tells the kernel the new length of a partition that stays where it is.
pub(crate) fn resize_partition(disk: &File, number: u32, start: u64, length: u64) -> io::Result<()> {
    /// `_IO(0x12, 105)`
    const BLKPG: c_ulong = 0x1269;
    const RESIZE: i32 = 3;
    let partition = BlockPartition {
        start: i64::try_from(start).map_err(io::Error::other)?,
        length: i64::try_from(length).map_err(io::Error::other)?,
        number: i32::try_from(number).map_err(io::Error::other)?,
        names: [0; 128],
    };
    let request = BlockPartitionRequest {
        operation: RESIZE,
        flags: 0,
        length: i32::try_from(size_of::<BlockPartition>()).map_err(io::Error::other)?,
        data: &raw const partition,
    };
    let fd = c_ulong::try_from(disk.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: two structures as the kernel declares them, the second named by the first, both alive here and only read.
    unsafe { call(number::IOCTL, [fd, BLKPG, &raw const request as c_ulong, 0, 0]) }.map(drop)
}

/// `prctl` with operations whose arguments are numbers; never with one that takes a pointer.
pub(crate) fn prctl(operation: PrctlOperation, argument: c_ulong) -> io::Result<i64> {
    // SAFETY: the enum holds only operations that take numbers, so no memory is touched.
    unsafe { call(number::PRCTL, [operation as c_ulong, argument, 0, 0, 0]) }
}

/// `prctl` operations without pointers (`include/uapi/linux/prctl.h`).
#[derive(Clone, Copy)]
pub(crate) enum PrctlOperation {
    GetSecurebits = 27,
    SetSecurebits = 28,
    SetMdwe = 65,
    GetMdwe = 66,
}

/// A key's serial number.
pub(crate) type Key = i32;

/// `KEY_SPEC_THREAD_KEYRING`
pub(crate) const THREAD_KEYRING: Key = -1;

/// Adds a key of the type `user`.
pub(crate) fn add_user_key(description: &CStr, payload: &[u8], keyring: Key) -> io::Result<Key> {
    let words = [
        c"user".as_ptr() as c_ulong,
        description.as_ptr() as c_ulong,
        payload.as_ptr() as c_ulong,
        payload.len() as c_ulong,
        key_word(keyring),
    ];
    // SAFETY: two NUL-terminated strings, and a slice with its length; the kernel only reads them, all borrowed here.
    let key = unsafe { call(number::ADD_KEY, words) }?;
    Key::try_from(key).map_err(io::Error::other)
}

/// Adds an X.509 certificate (DER) as a key of the type `asymmetric`; the kernel parses it.
pub(crate) fn add_certificate(certificate: &[u8], keyring: Key) -> io::Result<Key> {
    let words = [
        c"asymmetric".as_ptr() as c_ulong,
        c"graven:seed".as_ptr() as c_ulong,
        certificate.as_ptr() as c_ulong,
        certificate.len() as c_ulong,
        key_word(keyring),
    ];
    // SAFETY: two NUL-terminated strings, and a slice with its length; the kernel only reads them, all borrowed here.
    let key = unsafe { call(number::ADD_KEY, words) }?;
    Key::try_from(key).map_err(io::Error::other)
}

/// `struct keyctl_pkey_params` (`include/uapi/linux/keyctl.h`)
#[repr(C)]
struct PublicKeyParameters {
    key: Key,
    digest_length: u32,
    signature_length: u32,
    spare: [u32; 7],
}

/// Has the kernel check a signature over a SHA-256 digest, RSA PKCS#1 v1.5.
pub(crate) fn verify(key: Key, digest: &[u8], signature: &[u8]) -> io::Result<()> {
    const PKEY_VERIFY: c_ulong = 28;
    let parameters = PublicKeyParameters {
        key,
        digest_length: u32::try_from(digest.len()).map_err(io::Error::other)?,
        signature_length: u32::try_from(signature.len()).map_err(io::Error::other)?,
        spare: [0; 7],
    };
    let words = [
        PKEY_VERIFY,
        &raw const parameters as c_ulong,
        c"enc=pkcs1 hash=sha256".as_ptr() as c_ulong,
        digest.as_ptr() as c_ulong,
        signature.as_ptr() as c_ulong,
    ];
    // SAFETY: the structure as the kernel declares it, a NUL-terminated string, and two slices whose lengths stand in the
    // structure; the kernel only reads them, all alive here.
    unsafe { call(number::KEYCTL, words) }.map(drop)
}

/// `keyctl` on one key or keyring.
pub(crate) fn keyctl(operation: KeyOperation, key: Key) -> io::Result<()> {
    // SAFETY: these operations take a key's number and nothing else.
    unsafe { call(number::KEYCTL, [operation as c_ulong, key_word(key), 0, 0, 0]) }.map(drop)
}

/// `keyctl` operations on a key's number (`include/uapi/linux/keyctl.h`).
#[derive(Clone, Copy)]
pub(crate) enum KeyOperation {
    Revoke = 3,
    Clear = 7,
}

/// Sign-extended, as the kernel takes `key_serial_t`.
fn key_word(key: Key) -> c_ulong {
    c_long::from(key) as c_ulong
}

/// One instruction of a system call filter (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Puts a seccomp filter over this thread and all that it starts, without switching off the CPU's speculative store
/// bypass for them (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`).
pub(crate) fn install_filter(instructions: &[Instruction]) -> io::Result<()> {
    const SET_MODE_FILTER: c_ulong = 1;
    const SPEC_ALLOW: c_ulong = 4;
    let length = u16::try_from(instructions.len()).map_err(io::Error::other)?;
    let program = Program { length, instructions: instructions.as_ptr() };
    let words = [SET_MODE_FILTER, SPEC_ALLOW, &raw const program as c_ulong, 0, 0];
    // SAFETY: the program lives until the call returns, its pointer and length are one slice's, and the kernel copies it.
    unsafe { call(number::SECCOMP, words) }.map(drop)
}

/// Marks every descriptor from `first` on close-on-exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_ON_EXEC: c_ulong = 4;
    // SAFETY: three numbers; no descriptor is closed while this program runs.
    unsafe { call(number::CLOSE_RANGE, [c_ulong::from(first), c_ulong::from(u32::MAX), CLOSE_ON_EXEC, 0, 0]) }
        .map(drop)
}

/// Asks the kernel whether it would run this file, without running it (`AT_EXECVE_CHECK`, Linux 6.14).
pub(crate) fn would_execute(file: &File) -> io::Result<()> {
    const EMPTY_PATH: c_ulong = 0x1000;
    const EXECVE_CHECK: c_ulong = 0x1_0000;
    let fd = c_ulong::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let arguments = [c"init".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<std::ffi::c_char>()];
    let flags = EMPTY_PATH | EXECVE_CHECK;
    let words =
        [fd, c"".as_ptr() as c_ulong, arguments.as_ptr() as c_ulong, environment.as_ptr() as c_ulong, flags];
    // SAFETY: an empty string and two arrays that end with a null pointer, all alive here; the kernel only reads them. A
    // kernel that does not know the flag refuses the call, and one that knows it never replaces the program.
    unsafe { call(number::EXECVEAT, words) }.map(drop)
}
