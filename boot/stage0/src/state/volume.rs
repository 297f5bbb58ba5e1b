//! The file system in the state's partition: made from the image's pattern, mounted, grown.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use graven_handoff::{initramfs, sparse};
use rustix::fs::{FallocateFlags, fallocate};

use super::ext4::{self, Looks};
use super::{CLOSED, STATE};
use crate::partitions::Partition;
use crate::sys;

/// Writes the pattern: zeros first, its first block last, so that a power cut leaves a partition that is blank.
pub(super) fn write(partition: &Partition) -> io::Result<()> {
    let pattern = std::fs::read(initramfs::STATE)?;
    let pattern = sparse::decode(&pattern).ok_or_else(|| io::Error::other("the pattern is no image"))?;
    if pattern.len > partition.bytes {
        let detail = format!("it is {} bytes, the file system needs {}", partition.bytes, pattern.len);
        return Err(io::Error::other(detail));
    }
    let device = File::options().write(true).open(partition.node())?;
    zero(&device, pattern.len)?;
    device.sync_data()?;
    for (offset, block) in pattern.blocks.iter().rev() {
        if *offset == 0 {
            device.sync_data()?;
            let mut head = block.to_vec();
            let wrong = || io::Error::other("the pattern has no superblock");
            ext4::make_own(&mut head, random()?, random()?).ok_or_else(wrong)?;
            device.write_all_at(&head, 0)?;
        } else {
            device.write_all_at(block, *offset)?;
        }
    }
    device.sync_data()
}

/// The device's own way of zeroing, where it has one; the kernel writes zeros where it has none.
fn zero(mut device: &File, len: u64) -> io::Result<()> {
    if fallocate(device, FallocateFlags::ZERO_RANGE, 0, len).is_ok() {
        return Ok(());
    }
    const STEP: usize = 1 << 20;
    let zeros = vec![0; STEP];
    let mut left = len;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(STEP).min(STEP);
        device.write_all(zeros.get(..step).unwrap_or_default())?;
        left = left.saturating_sub(step as u64);
    }
    Ok(())
}

/// Mounts it; what the kernel then finds wrong makes it read-only and is seen at the next boot.
pub(super) fn mount(partition: &Partition) -> io::Result<()> {
    Ok(rustix::mount::mount(&*partition.node(), STATE, "ext4", CLOSED, c"errors=remount-ro")?)
}

/// Grows the mounted file system to its partition's size, where it is smaller.
pub(super) fn grow(partition: &Partition) -> io::Result<()> {
    let Looks::Good { blocks } = ext4::look(&partition.head(ext4::HEAD)?, partition.bytes) else {
        return Err(io::Error::other("its superblock is not good"));
    };
    let wanted = partition.bytes / ext4::BLOCK;
    // What is smaller than a block group's own tables is not worth a group.
    const WORTH: u64 = 2048;
    if wanted.saturating_sub(blocks) < WORTH {
        return Ok(());
    }
    sys::grow_ext4(&File::open(STATE)?, wanted)
}

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let count = rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        filled = filled.saturating_add(count);
    }
    Ok(bytes)
}
