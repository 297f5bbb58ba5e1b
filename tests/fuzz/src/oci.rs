//! Container images: documents and layers of any bytes, put together so that their digests hold.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use graven_image::tree::{Kind, Metadata, Tree};
use graven_sources::oci::{self, Blob, Blobs, Image, Platform};
use graven_sources::{Item, Limits, Sha256, Spool};
use graven_verity::io::ReadAt;

/// What ends a part.
const END: u8 = 0xff;

/// An image is read or refused. What is read is the same again, has no whiteouts, goes into an empty tree, and can be read.
///
/// Parts end in 0xff; the first is the index or manifest that the image begins with. One that begins with `{` is a document,
/// in which `@3` is the digest of part 3, `%3` that of what it unpacks to, `#3` its size, for parts behind it. One that begins
/// with `t` is an archive, with `g` the same compressed, with `r` an archive as it lies there but for its checksums; any other
/// is a blob as it is.
pub fn oci(bytes: &[u8]) {
    let parts = Parts::new(bytes);
    let Some(first) = parts.made.get(&0) else { return };
    let top = Blob { sha256: first.sha256, size: first.blob.len() as u64, is_document: true };
    let platform = Platform::linux("amd64");
    let limits = Limits { unpacked_bytes: 1 << 20, members: 64, ratio: 250, decoder_memory: 8 << 20 };
    let read = || -> Result<Image, oci::Error> {
        let spool = Spool::new(&std::env::temp_dir()).expect("a file");
        oci::read("image", &parts, &top, None, &platform, &spool, &limits)
    };
    let chain = oci::choose("image", &parts, &top, None, &platform, &limits);
    let Ok(image) = read() else { return };
    let chain = chain.expect("what is read is chosen");
    let layers: Vec<Sha256> = chain.layers.iter().map(|layer| layer.sha256).collect();
    let facts = &image.facts;
    assert_eq!(
        (facts.manifest, facts.config, &facts.layers),
        (chain.manifest.sha256, chain.config.sha256, &layers)
    );
    let again = read().expect("it was read before");
    assert_eq!(format!("{image:?}"), format!("{again:?}"));

    let paths: Vec<_> = image.layer.entries().iter().map(|entry| entry.path.clone()).collect();
    assert!(paths.len() as u64 <= limits.members);
    assert!(paths.iter().all(|path| path.components().all(|name| !name.starts_with(b".wh."))), "{paths:?}");
    let links = image.layer.entries().iter().filter(|entry| matches!(entry.item, Item::HardLink(_))).count();
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    let replaced = image.layer.apply(&mut tree).expect("an image goes into an empty tree");
    assert!(replaced.is_empty(), "an image has each name once: {replaced:?}");
    let brought = tree.walk().filter(|entry| entry.inode.origin.is_some());
    assert_eq!(brought.count(), paths.len(), "{links} hard links among them");
    for entry in tree.walk() {
        if let Kind::File(content) = &entry.inode.kind {
            let mut bytes = vec![0; usize::try_from(content.len).expect("a limit holds")];
            content.read_exact_at(&mut bytes, 0).expect("contents are there");
        }
    }
}

/// Blobs by the number of their part.
struct Parts {
    made: BTreeMap<usize, Part>,
}

struct Part {
    blob: Arc<Vec<u8>>,
    sha256: Sha256,
    unpacked: Sha256,
}

impl Parts {
    fn new(bytes: &[u8]) -> Self {
        let texts: Vec<&[u8]> = bytes.split(|byte| *byte == END).take(10).collect();
        let mut parts = Self { made: BTreeMap::new() };
        for (number, text) in texts.into_iter().enumerate().rev() {
            let (plain, gzip) = match text {
                [b'{', ..] => (parts.filled(text), false),
                [b't', members @ ..] => (archive(members), false),
                [b'g', members @ ..] => (archive(members), true),
                [b'r', raw @ ..] => (with_checksums(raw), false),
                other => (other.to_vec(), false),
            };
            let unpacked = digest(&plain);
            let blob = if gzip { compressed(&plain) } else { plain };
            parts.made.insert(number, Part { sha256: digest(&blob), unpacked, blob: Arc::new(blob) });
        }
        parts
    }

    /// A document with the digests and sizes of the parts behind it.
    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let [byte, behind @ ..] = rest {
            rest = behind;
            let number =
                behind.first().filter(|digit| digit.is_ascii_digit()).map(|digit| usize::from(digit - b'0'));
            let part = number.and_then(|number| self.made.get(&number));
            match (byte, part) {
                (b'@', Some(part)) => out.extend(format!("sha256:{}", part.sha256).bytes()),
                (b'%', Some(part)) => out.extend(format!("sha256:{}", part.unpacked).bytes()),
                (b'#', Some(part)) => out.extend(part.blob.len().to_string().bytes()),
                _ => {
                    out.push(*byte);
                    continue;
                }
            }
            rest = behind.get(1..).unwrap_or_default();
        }
        out
    }
}

impl Blobs for Parts {
    fn open(&self, blob: &Blob) -> Result<Option<Arc<dyn ReadAt>>, oci::Error> {
        let part = self.made.values().find(|part| part.sha256 == blob.sha256);
        Ok(part.map(|part| Arc::<Vec<u8>>::clone(&part.blob) as Arc<dyn ReadAt>))
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256::of(&bytes).expect("bytes in memory")
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

/// A line a member: its type, its name, and behind `|` its contents, or where it leads.
fn archive(members: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members.split(|byte| *byte == b'\n') {
        let [kind, member @ ..] = member else { continue };
        let end = member.iter().position(|byte| *byte == b'|').unwrap_or(member.len());
        let (name, rest) = (&member[..end.min(100)], member.get(end + 1..).unwrap_or_default());
        let (link, body): (&[u8], &[u8]) = match kind {
            b'0' | b'x' | b'g' | b'L' | b'K' => (&[], rest),
            _ => (&rest[..rest.len().min(100)], &[]),
        };
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(b"0000755");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
        header[136..147].copy_from_slice(b"07346545000");
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        out.extend(header);
        out.extend(body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    with_checksums(&out)
}

/// Each header gets the checksum that it should have.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut out = archive.to_vec();
    let mut at = 0;
    while let Some(header) = out.get_mut(at..at + 512) {
        if header.iter().any(|byte| *byte != 0) {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
        let size =
            std::str::from_utf8(&header[124..135]).ok().and_then(|text| usize::from_str_radix(text, 8).ok());
        at += 512 + size.unwrap_or_default().min(archive.len()).next_multiple_of(512);
    }
    out
}
