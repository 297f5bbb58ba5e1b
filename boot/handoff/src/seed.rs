//! A seed: what a factory gives a machine on its first boot, signed.
//!
//! It is the start of a partition named [`PARTITION`]; no file system is parsed to get at it.
//!
//! ```text
//! 16 bytes  "graven-seed-1\n" and two zeros
//!  8 bytes  length of the archive, little-endian
//!  8 bytes  length of the signature, little-endian
//!           the archive: POSIX ustar, files and folders alone
//!           the signature: RSA PKCS#1 v1.5 with SHA-256 over everything before it
//! ```
//!
//! There is no certificate in it: the one that counts is in the signed initramfs,
//! [`initramfs::SEED_CERTIFICATE`](crate::initramfs::SEED_CERTIFICATE).

/// The partition's name in the GPT.
pub const PARTITION: &str = "graven-seed";
/// Bytes before the archive.
pub const HEADER: usize = 32;
/// Most bytes of an archive: stage0 holds it in memory.
pub const MOST: usize = 16 << 20;

const MAGIC: &[u8; 16] = b"graven-seed-1\n\0\0";
/// Of an RSA key of 16384 bits.
const MOST_SIGNATURE: usize = 2048;
const RECORD: usize = 512;

/// Lengths as a header has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the archive.
    pub archive: usize,
    /// Of the signature.
    pub signature: usize,
}

impl Header {
    /// Reads it; `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (archive, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let signature = rest.first_chunk()?;
        let header = Header {
            archive: usize::try_from(u64::from_le_bytes(*archive)).ok()?,
            signature: usize::try_from(u64::from_le_bytes(*signature)).ok()?,
        };
        (header.archive <= MOST && (1..=MOST_SIGNATURE).contains(&header.signature)).then_some(header)
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = MAGIC.iter().copied();
        let fields =
            fields.chain((self.archive as u64).to_le_bytes()).chain((self.signature as u64).to_le_bytes());
        for (place, byte) in bytes.iter_mut().zip(fields) {
            *place = byte;
        }
        bytes
    }
}

/// A file or a folder of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Absolute path in the root.
    pub path: String,
    /// What it is.
    pub kind: Kind<'a>,
    /// Permission bits, without set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file with these contents.
    File(&'a [u8]),
    /// A folder.
    Folder,
}

/// Takes an archive apart. The answer for anything but ustar with files and folders, each path once, is what is wrong.
pub fn entries(archive: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut rest = archive;
    while let Some((record, after)) = rest.split_first_chunk::<RECORD>() {
        if record.iter().all(|byte| *byte == 0) {
            return match after.iter().all(|byte| *byte == 0) {
                true => Ok(entries),
                false => Err("something follows the archive's end".to_owned()),
            };
        }
        let header = Record(record);
        let size = header.check().ok_or("a record is no ustar header, or its checksum is wrong")?;
        let (contents, next) = after.split_at_checked(size).ok_or("it is cut off")?;
        let entry = header.entry(contents)?;
        if entries.iter().any(|other| other.path == entry.path) {
            return Err(format!("{} is in it twice", entry.path));
        }
        entries.push(entry);
        let padding = size.next_multiple_of(RECORD).saturating_sub(size);
        rest = next.get(padding..).ok_or("it is cut off")?;
    }
    Err("it has no end".to_owned())
}

/// A header of the archive (POSIX.1-1988, `ustar`).
struct Record<'a>(&'a [u8; RECORD]);

impl Record<'_> {
    fn field(&self, start: usize, length: usize) -> &[u8] {
        self.0.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }

    /// A number in octal digits, ended by NUL or blank.
    fn number(&self, start: usize, length: usize) -> Option<u64> {
        let field = self.field(start, length);
        let end = field.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(field.len());
        let (digits, rest) = field.split_at_checked(end)?;
        let octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit)) && !digits.is_empty();
        let ended = rest.iter().all(|byte| matches!(byte, 0 | b' '));
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok().filter(|_| octal && ended)
    }

    fn text(&self, start: usize, length: usize) -> Option<&str> {
        let field = self.field(start, length);
        std::str::from_utf8(field.split(|byte| *byte == 0).next()?).ok()
    }

    /// The contents' length, where everything that does not depend on the kind is right.
    fn check(&self) -> Option<usize> {
        const CHECKSUM: std::ops::Range<usize> = 148..156;
        let bytes = self.0.iter().enumerate();
        let bytes = bytes.map(|(at, byte)| if CHECKSUM.contains(&at) { b' ' } else { *byte });
        let sum = bytes.map(u64::from).fold(0, u64::saturating_add);
        let good = self.number(148, 8)? == sum && self.field(257, 6) == b"ustar\0";
        usize::try_from(self.number(124, 12)?).ok().filter(|_| good)
    }

    fn entry<'c>(&self, contents: &'c [u8]) -> Result<Entry<'c>, String> {
        let name = self.text(0, 100).ok_or("a name is no text")?;
        let prefix = self.text(345, 155).ok_or("a name is no text")?;
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let path = format!("/{}", name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/'));
        let kind = match self.field(156, 1) {
            b"0" | b"\0" => Kind::File(contents),
            b"5" if contents.is_empty() => Kind::Folder,
            _ => return Err(format!("{path} is neither a file nor a folder")),
        };
        let good = !path.contains(char::is_control)
            && path.split('/').skip(1).all(|part| !matches!(part, "." | ".."))
            && (path == "/" || path.split('/').skip(1).all(|part| !part.is_empty()));
        if !good || (path == "/" && kind != Kind::Folder) {
            return Err(format!("{path:?} is no path"));
        }
        let number = |start, length| self.number(start, length).and_then(|number| u32::try_from(number).ok());
        Ok(Entry {
            mode: number(100, 8)
                .filter(|mode| mode & !0o777 == 0)
                .ok_or_else(|| format!("{path}: its mode"))?,
            uid: number(108, 8).ok_or_else(|| format!("{path}: its owner"))?,
            gid: number(116, 8).ok_or_else(|| format!("{path}: its group"))?,
            path,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut record = [0; RECORD];
        record[..name.len()].copy_from_slice(name.as_bytes());
        record[100..108].copy_from_slice(b"0000640\0");
        record[108..116].copy_from_slice(b"0000041\0");
        record[116..124].copy_from_slice(b"0000000\0");
        record[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
        record[156] = kind;
        record[257..263].copy_from_slice(b"ustar\0");
        record[148..156].copy_from_slice(b"        ");
        let sum: u64 = record.iter().map(|byte| u64::from(*byte)).sum();
        record[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = record.to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(RECORD), 0);
        bytes
    }

    fn archive(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = records.concat();
        bytes.resize(bytes.len() + 2 * RECORD, 0);
        bytes
    }

    #[test]
    fn files_and_folders_come_out() {
        let bytes =
            archive(&[record("./", b'5', b""), record("etc/x", b'0', b"content"), record("var/", b'5', b"")]);
        let found = entries(&bytes).unwrap();
        let paths: Vec<&str> = found.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["/", "/etc/x", "/var"]);
        assert_eq!(
            found[1],
            Entry { path: "/etc/x".into(), kind: Kind::File(b"content"), mode: 0o640, uid: 33, gid: 0 }
        );
        assert_eq!(entries(&archive(&[])), Ok(vec![]));
    }

    #[test]
    fn everything_else_is_refused() {
        for name in ["../x", "a/../b", "a//b", "a/./b", "a\nb", ""] {
            assert!(entries(&archive(&[record(name, b'0', b"")])).is_err(), "{name:?}");
        }
        for kind in [b'1', b'2', b'3', b'x', b'g', b'L', b'7'] {
            assert!(entries(&archive(&[record("a", kind, b"")])).is_err(), "{kind}");
        }
        let same = record("a", b'0', b"");
        assert!(entries(&archive(&[same.clone(), same.clone()])).unwrap_err().contains("twice"));
        assert!(entries(&same).is_err(), "no end");
        let mut torn = archive(&[record("a", b'0', b"long")]);
        torn[600] ^= 1;
        let mut sum = archive(&[same]);
        sum[0] ^= 1;
        assert!(entries(&sum).is_err());
        let mut behind = archive(&[]);
        behind.push(1);
        assert!(entries(&behind).is_err());
        for len in 0..1536 {
            assert!(entries(&archive(&[record("a", b'0', &[1; 700])])[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_header_comes_back() {
        let header = Header { archive: 1536, signature: 256 };
        assert_eq!(Header::parse(&header.bytes()), Some(header));
        for bad in [Header { archive: MOST + 1, signature: 256 }, Header { archive: 1, signature: 0 }] {
            assert_eq!(Header::parse(&bad.bytes()), None);
        }
        assert_eq!(Header::parse(b"graven-seed-2"), None);
    }
}
