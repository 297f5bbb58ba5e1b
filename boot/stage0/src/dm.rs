//! The part of the device-mapper's ioctl interface that opens one read-only device (`include/uapi/linux/dm-ioctl.h`).

use std::fs::File;
use std::io;

use crate::sys;

const CONTROL: &str = "/dev/mapper/control";

/// `struct dm_ioctl`, followed by room for what the command takes or gives.
struct Message {
    bytes: Vec<u8>,
}

/// Offsets in `struct dm_ioctl`, in bytes.
mod at {
    pub(super) const DATA_SIZE: usize = 12;
    pub(super) const DATA_START: usize = 16;
    pub(super) const TARGET_COUNT: usize = 20;
    pub(super) const FLAGS: usize = 28;
    pub(super) const DEVICE: usize = 40;
    pub(super) const NAME: usize = 48;
    pub(super) const UUID: usize = 176;
    pub(super) const END: usize = 312;
}
const NAME_BYTES: usize = 128;
const UUID_BYTES: usize = 129;
/// `struct dm_target_spec`: sector_start u64, length u64, status i32, next u32, target_type [u8; 16].
const TARGET_BYTES: usize = 40;
/// Enough for the status of a single verity target.
const STATUS_BYTES: usize = 4096;

const READ_ONLY: u32 = 1 << 0;
const STATUS_TABLE: u32 = 1 << 4;
const BUFFER_FULL: u32 = 1 << 8;

/// Commands: `_IOWR(0xfd, number, struct dm_ioctl)`.
#[derive(Clone, Copy)]
enum Command {
    DeviceCreate = 3,
    DeviceRemove = 4,
    DeviceSuspend = 6,
    TableLoad = 9,
    TableStatus = 12,
}

impl Command {
    fn request(self) -> u32 {
        const READ_WRITE: u32 = 3 << 30;
        const SIZE: u32 = (at::END as u32) << 16;
        READ_WRITE | SIZE | (0xfd << 8) | self as u32
    }
}

impl Message {
    fn new(name: &str, flags: u32, data: &[u8]) -> io::Result<Self> {
        let mut message = Message { bytes: vec![0; at::END] };
        message.bytes.extend_from_slice(data);
        let length = u32::try_from(message.bytes.len()).map_err(io::Error::other)?;
        message.put(0, &4u32.to_ne_bytes())?; // interface version 4.0.0
        message.put(at::DATA_SIZE, &length.to_ne_bytes())?;
        message.put(at::DATA_START, &(at::END as u32).to_ne_bytes())?;
        message.put(at::FLAGS, &flags.to_ne_bytes())?;
        message.text(at::NAME, NAME_BYTES, name)?;
        Ok(message)
    }

    fn put(&mut self, offset: usize, value: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(value.len());
        let place = end.and_then(|end| self.bytes.get_mut(offset..end)).ok_or(io::ErrorKind::InvalidInput)?;
        place.copy_from_slice(value);
        Ok(())
    }

    fn text(&mut self, offset: usize, room: usize, text: &str) -> io::Result<()> {
        // One byte stays for the NUL.
        if text.len() >= room || text.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.put(offset, text.as_bytes())
    }

    fn u32(&self, offset: usize) -> io::Result<u32> {
        let bytes =
            self.bytes.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(u32::from_ne_bytes(*bytes))
    }

    fn u64(&self, offset: usize) -> io::Result<u64> {
        let bytes =
            self.bytes.get(offset..).and_then(|rest| rest.first_chunk()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(u64::from_ne_bytes(*bytes))
    }

    fn send(&mut self, control: &File, command: Command) -> io::Result<()> {
        sys::dm_ioctl(control, command.request(), &mut self.bytes)
    }
}

/// A device under construction; [`Device::remove`] is for when it turns out wrong.
pub(crate) struct Device {
    control: File,
    name: String,
    /// `MAJOR:MINOR` of the device.
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Device {
    /// A device without a table.
    pub(crate) fn create(name: &str, uuid: &str) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open(CONTROL)?;
        let mut message = Message::new(name, 0, &[])?;
        message.text(at::UUID, UUID_BYTES, uuid)?;
        message.send(&control, Command::DeviceCreate)?;
        // `huge_encode_dev`: 12 bits of major, 20 of minor.
        let number = message.u64(at::DEVICE)?;
        let major = u32::try_from((number >> 8) & 0xfff).map_err(io::Error::other)?;
        let minor = u32::try_from((number & 0xff) | ((number >> 12) & 0xfff00)).map_err(io::Error::other)?;
        Ok(Device { control, name: name.to_owned(), major, minor })
    }

    /// Loads a table of one target over `sectors` of 512 bytes, read-only. The kernel checks everything here.
    pub(crate) fn load(&self, target: &str, sectors: u64, arguments: &str) -> io::Result<()> {
        let mut data = Vec::with_capacity(TARGET_BYTES);
        data.extend_from_slice(&0u64.to_ne_bytes());
        data.extend_from_slice(&sectors.to_ne_bytes());
        data.extend_from_slice(&0u32.to_ne_bytes());
        data.extend_from_slice(&0u32.to_ne_bytes());
        data.extend_from_slice(target.as_bytes());
        data.resize(TARGET_BYTES, 0);
        data.extend_from_slice(arguments.as_bytes());
        data.push(0);
        while data.len() % 8 != 0 {
            data.push(0);
        }
        let mut message = Message::new(&self.name, READ_ONLY, &data)?;
        message.put(at::TARGET_COUNT, &1u32.to_ne_bytes())?;
        message.send(&self.control, Command::TableLoad)
    }

    /// Puts the loaded table into force.
    pub(crate) fn resume(&self) -> io::Result<()> {
        Message::new(&self.name, 0, &[])?.send(&self.control, Command::DeviceSuspend)
    }

    /// The table in force, as the kernel writes it: the target's arguments.
    pub(crate) fn table(&self) -> io::Result<String> {
        self.status_text(STATUS_TABLE)
    }

    /// The target's state.
    pub(crate) fn status(&self) -> io::Result<String> {
        self.status_text(0)
    }

    fn status_text(&self, flags: u32) -> io::Result<String> {
        let mut message = Message::new(&self.name, flags, &[0; STATUS_BYTES])?;
        message.send(&self.control, Command::TableStatus)?;
        let whole = message.u32(at::FLAGS)? & BUFFER_FULL == 0 && message.u32(at::TARGET_COUNT)? == 1;
        let start = usize::try_from(message.u32(at::DATA_START)?).map_err(io::Error::other)?;
        let text = start
            .checked_add(TARGET_BYTES)
            .and_then(|start| message.bytes.get(start..))
            .and_then(|bytes| bytes.split(|byte| *byte == 0).next())
            .filter(|_| whole)
            .ok_or(io::ErrorKind::InvalidData)?;
        String::from_utf8(text.to_vec()).map_err(io::Error::other)
    }

    /// Takes the device away again, as far as that goes.
    pub(crate) fn remove(&self) {
        if let Ok(mut message) = Message::new(&self.name, 0, &[]) {
            // Only tidying up before stage0 stops: whatever it says, the device is not used.
            let _ = message.send(&self.control, Command::DeviceRemove);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_headers() {
        // From a C program printing DM_DEV_CREATE and DM_TABLE_STATUS.
        assert_eq!(Command::DeviceCreate.request(), 0xc138_fd03);
        assert_eq!(Command::TableStatus.request(), 0xc138_fd0c);
    }

    #[test]
    fn a_message_says_its_own_length() {
        let message = Message::new("root", READ_ONLY, &[0; 48]).unwrap();
        assert_eq!(message.u32(at::DATA_SIZE).unwrap(), 360);
        assert_eq!(&message.bytes[at::NAME..at::NAME + 5], b"root\0");
        assert!(Message::new(&"x".repeat(128), 0, &[]).is_err());
    }
}
