//! What a kernel's own image says of it: the x86 boot header, the arm64 image header, the EFI stub's PE header.

use std::borrow::Cow;

use graven_targets::Arch;

use crate::compression::{Compression, decompress};

/// Most bytes a kernel may have once decompressed. Debian's has about 60 MiB.
const KERNEL_LIMIT: u64 = 512 << 20;

/// How the image is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// x86: boot sector, boot header, compressed payload (`Documentation/arch/x86/boot.rst`).
    BzImage,
    /// arm64: the flat kernel (`Documentation/arch/arm64/booting.rst`).
    Arm64Image,
    /// arm64: the flat kernel in one gzip, xz or zstd stream (`Image.gz`), which U-Boot unpacks and UEFI cannot.
    Arm64Compressed,
    /// arm64 and others: a PE that decompresses the kernel itself (`CONFIG_EFI_ZBOOT`).
    EfiZboot,
}

/// What the image says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its wrapping.
    pub format: ImageFormat,
    /// Its architecture.
    pub arch: Arch,
    /// `uname -r`, from the boot header or the banner.
    pub release: String,
    /// It has a PE header of its architecture, so that UEFI can start it.
    pub efi_stub: bool,
    /// x86: the longest command line in bytes without NUL that the kernel says it takes (`cmdline_size`).
    pub command_line_size: Option<u32>,
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither of the formats.
    #[error(
        "no kernel image: neither an x86 boot header (HdrS) nor an arm64 one (ARM\\x64) nor an EFI zboot header"
    )]
    Unknown,
    /// It ends before what its header points to.
    #[error("truncated kernel image: {what} lies at offset {offset}, beyond the end at {length}")]
    Truncated {
        /// What was looked for.
        what: &'static str,
        /// Where, in bytes.
        offset: usize,
        /// The image's length in bytes.
        length: usize,
    },
    /// An x86 boot protocol from before 64-bit kernels said so.
    #[error("boot protocol {major}.{minor}: expected at least 2.12 (Linux 3.8)")]
    OldProtocol {
        /// High byte.
        major: u16,
        /// Low byte.
        minor: u16,
    },
    /// No `Linux version` in it.
    #[error("no version in the kernel image: {0}")]
    NoVersion(&'static str),
    /// The payload does not decompress.
    #[error("kernel payload: {0}")]
    Payload(#[from] crate::compression::DecompressError),
}

impl Image {
    /// Reads the headers of a kernel image.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.get(0x202..0x206) == Some(b"HdrS") {
            return bz_image(bytes);
        }
        if bytes.get(4..8) == Some(b"zimg") && bytes.starts_with(b"MZ") {
            let arch = pe_arch(bytes).ok_or(ImageError::Unknown)?;
            let release = banner(&payload_of_zboot(bytes)?)?;
            return Ok(Self {
                format: ImageFormat::EfiZboot,
                arch,
                release,
                efi_stub: true,
                command_line_size: None,
            });
        }
        if is_arm64_image(bytes) {
            return Ok(Self {
                format: ImageFormat::Arm64Image,
                arch: Arch::Aarch64,
                release: banner(bytes)?,
                efi_stub: pe_arch(bytes) == Some(Arch::Aarch64),
                command_line_size: None,
            });
        }
        if Compression::of(bytes) != Compression::None {
            let kernel = decompress(bytes, KERNEL_LIMIT)?;
            if is_arm64_image(&kernel) {
                let release = banner(&kernel)?;
                let format = ImageFormat::Arm64Compressed;
                return Ok(Self {
                    format,
                    arch: Arch::Aarch64,
                    release,
                    efi_stub: false,
                    command_line_size: None,
                });
            }
        }
        Err(ImageError::Unknown)
    }

    /// The kernel proper, decompressed. `None` where it uses a compression that only the kernel knows (LZ4, LZO, LZMA,
    /// bzip2).
    pub fn decompressed<'a>(&self, bytes: &'a [u8]) -> Result<Option<Cow<'a, [u8]>>, ImageError> {
        let payload = match self.format {
            ImageFormat::Arm64Image => return Ok(Some(Cow::Borrowed(bytes))),
            ImageFormat::Arm64Compressed => bytes,
            ImageFormat::EfiZboot => return Ok(Some(Cow::Owned(payload_of_zboot(bytes)?))),
            ImageFormat::BzImage => payload_of_bz_image(bytes)?,
        };
        match Compression::of(payload) {
            Compression::None => Ok(None),
            _ => Ok(Some(Cow::Owned(decompress(payload, KERNEL_LIMIT)?))),
        }
    }
}

fn is_arm64_image(bytes: &[u8]) -> bool {
    bytes.get(0x38..0x3c) == Some(b"ARM\x64")
}

fn bz_image(bytes: &[u8]) -> Result<Image, ImageError> {
    let protocol = le16(bytes, 0x206, "boot protocol version")?;
    let (major, minor) = (protocol >> 8, protocol & 0xff);
    if protocol < 0x20c {
        return Err(ImageError::OldProtocol { major, minor });
    }
    // kernel_version: offset of the version string, less 0x200.
    let version = usize::from(le16(bytes, 0x20e, "kernel_version")?).saturating_add(0x200);
    let text = bytes.get(version..).ok_or(ImageError::Truncated {
        what: "the version string",
        offset: version,
        length: bytes.len(),
    })?;
    let release =
        first_word(text).ok_or(ImageError::NoVersion("the boot header points to no version string"))?;
    // XLF_KERNEL_64: there is a 64-bit entry point.
    let is_64_bit = le16(bytes, 0x236, "xloadflags")? & 1 != 0;
    if !is_64_bit {
        return Err(ImageError::NoVersion("a 32-bit x86 kernel, which Graven does not boot"));
    }
    Ok(Image {
        format: ImageFormat::BzImage,
        arch: Arch::X86_64,
        release,
        efi_stub: pe_arch(bytes) == Some(Arch::X86_64),
        command_line_size: Some(le32(bytes, 0x238, "cmdline_size")?),
    })
}

/// The compressed kernel of a bzImage: `payload_offset` counts from the end of the real-mode part.
fn payload_of_bz_image(bytes: &[u8]) -> Result<&[u8], ImageError> {
    let sectors = match bytes.get(0x1f1) {
        Some(0) | None => 4,
        Some(&sectors) => usize::from(sectors),
    };
    let real_mode = sectors.saturating_add(1).saturating_mul(512);
    let start = real_mode.saturating_add(le32(bytes, 0x248, "payload_offset")? as usize);
    let end = start.saturating_add(le32(bytes, 0x24c, "payload_length")? as usize);
    bytes.get(start..end).ok_or(ImageError::Truncated {
        what: "the payload's end",
        offset: end,
        length: bytes.len(),
    })
}

/// `drivers/firmware/efi/libstub/zboot-header.S`: payload offset at 8, size at 12.
fn payload_of_zboot(bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
    let start = le32(bytes, 8, "payload offset")? as usize;
    let end = start.saturating_add(le32(bytes, 12, "payload size")? as usize);
    let payload = bytes.get(start..end).ok_or(ImageError::Truncated {
        what: "the payload's end",
        offset: end,
        length: bytes.len(),
    })?;
    Ok(decompress(payload, KERNEL_LIMIT)?)
}

/// The word after `Linux version ` of the kernel's banner.
fn banner(kernel: &[u8]) -> Result<String, ImageError> {
    const BANNER: &[u8] = b"Linux version ";
    kernel
        .windows(BANNER.len())
        .enumerate()
        .filter(|(_, window)| *window == BANNER)
        .filter_map(|(offset, _)| first_word(kernel.get(offset.saturating_add(BANNER.len())..)?))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .ok_or(ImageError::NoVersion("it holds no 'Linux version' banner"))
}

fn first_word(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|&b| b == 0 || b == b' ')?;
    let word = text.get(..end).filter(|word| !word.is_empty() && word.len() <= 64)?;
    word.is_ascii().then(|| String::from_utf8_lossy(word).into_owned())
}

/// The architecture in the PE header, if there is one.
fn pe_arch(bytes: &[u8]) -> Option<Arch> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let pe = le32(bytes, 0x3c, "PE offset").ok()? as usize;
    if bytes.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let machine = le16(bytes, pe.checked_add(4)?, "machine").ok()?;
    Arch::ALL.into_iter().find(|arch| arch.pe_machine() == machine)
}

fn le16(bytes: &[u8], offset: usize, what: &'static str) -> Result<u16, ImageError> {
    array(bytes, offset, what).map(u16::from_le_bytes)
}

fn le32(bytes: &[u8], offset: usize, what: &'static str) -> Result<u32, ImageError> {
    array(bytes, offset, what).map(u32::from_le_bytes)
}

fn array<const N: usize>(bytes: &[u8], offset: usize, what: &'static str) -> Result<[u8; N], ImageError> {
    bytes.get(offset..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(ImageError::Truncated {
        what,
        offset,
        length: bytes.len(),
    })
}
