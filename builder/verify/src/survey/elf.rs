//! ELF files, as far as loading them matters. Nothing is trusted: every offset is read through the file's own bounds.
//!
//! Layout: System V ABI, `include/uapi/linux/elf.h`; little-endian, 32 and 64 bits, which is every machine that images are
//! built for.

use std::io;
use std::ops::Range;

use graven_image::tree::Content;

/// Program headers that a file may have; the kernel takes 64 KiB of them.
const MOST_HEADERS: u64 = 1024;
/// Bytes of a dynamic section or of its strings that are read.
const MOST_BYTES: u64 = 16 << 20;

/// What of an ELF file decides whether and how it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// 64 bits, else 32.
    pub wide: bool,
    /// A relocatable object: a kernel module, or what a linker takes.
    pub relocatable: bool,
    /// Has an address to begin at: a program, or a loader.
    pub entry: bool,
    /// `ET_EXEC`.
    pub fixed: bool,
    /// `PT_INTERP`: its loader.
    pub interpreter: Option<String>,
    /// `DT_NEEDED`: the libraries it wants.
    pub needed: Vec<String>,
    /// `DT_RUNPATH`, else `DT_RPATH`: folders where they are looked for first.
    pub run_path: Vec<String>,
    /// `PT_GNU_STACK` asks for an executable stack.
    pub executable_stack: bool,
    /// A segment is writable and executable at once.
    pub writable_code: bool,
    /// `DT_TEXTREL`: code is written to while it is loaded.
    pub text_relocations: bool,
    /// The functions for system calls that it takes from a library.
    pub takes: Taken,
    /// Where in the file its code lies.
    pub code: Vec<Range<u64>>,
    /// It is loaded by itself, and takes nothing from a library.
    pub alone: bool,
}

/// Functions for system calls that a file takes from a library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// `execveat`, without which no program can ask the kernel about a script.
    pub execveat: bool,
    /// `prctl`.
    pub prctl: bool,
    /// `syscall`, which makes any call.
    pub syscall: bool,
}

impl Elf {
    /// Reads a file that begins as ELF files do; `None` where it is none that a machine of ours would load.
    ///
    /// # Errors
    /// What reading the file says.
    pub fn read(content: &Content) -> io::Result<Option<Self>> {
        let Some(header) = bytes(content, 0, 64)? else { return Ok(None) };
        let wide = match header.get(4..6) {
            Some([1, 1]) => false,
            Some([2, 1]) => true,
            _ => return Ok(None),
        };
        let at = |narrow, wide_at| if wide { wide_at } else { narrow };
        let word = |offset| number(&header, offset, if wide { 8 } else { 4 });
        let kind = number(&header, 16, 2);
        let mut elf = Self {
            machine: number(&header, 18, 2) as u16,
            wide,
            relocatable: kind == 1,
            fixed: kind == 2,
            entry: word(24) != 0,
            ..Self::default()
        };
        let start = word(at(28, 32));
        let size = number(&header, at(42, 54), 2);
        let count = number(&header, at(44, 56), 2).min(MOST_HEADERS);
        if size < if wide { 56 } else { 32 } {
            return Ok(Some(elf));
        }
        let Some(table) = bytes(content, start, size.saturating_mul(count))? else { return Ok(Some(elf)) };
        let segments: Vec<Segment> =
            table.chunks_exact(size as usize).map(|entry| Segment::parse(entry, wide)).collect();
        for segment in &segments {
            elf.note(segment, content)?;
        }
        match segments.iter().find(|segment| segment.kind == Segment::DYNAMIC) {
            Some(dynamic) => elf.note_dynamic(dynamic, &segments, content)?,
            None => elf.alone = !elf.relocatable,
        }
        Ok(Some(elf))
    }

    fn note(&mut self, segment: &Segment, content: &Content) -> io::Result<()> {
        match segment.kind {
            Segment::INTERPRETER if segment.length <= 4096 => {
                self.interpreter =
                    bytes(content, segment.offset, segment.length)?.map(|bytes| text(&bytes, 0));
            }
            Segment::STACK => self.executable_stack = segment.flags & Segment::EXECUTE != 0,
            Segment::LOAD => {
                let both = Segment::EXECUTE | Segment::WRITE;
                self.writable_code |= segment.flags & both == both;
                if segment.flags & Segment::EXECUTE != 0 {
                    let end = segment.offset.saturating_add(segment.length).min(content.len);
                    self.code.push(segment.offset.min(end)..end);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_dynamic(&mut self, dynamic: &Segment, all: &[Segment], content: &Content) -> io::Result<()> {
        let Some(table) = bytes(content, dynamic.offset, dynamic.length)? else { return Ok(()) };
        let width = if self.wide { 8 } else { 4 };
        let entries = table.chunks_exact(2 * width);
        let entries = entries.map(|entry| (number(entry, 0, width), number(entry, width, width)));
        let entries: Vec<(u64, u64)> = entries.take_while(|(tag, _)| *tag != 0).collect();
        let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);

        const TEXTREL: u64 = 22;
        const FLAGS: u64 = 30;
        const FLAG_TEXTREL: u64 = 4;
        self.text_relocations =
            value(TEXTREL).is_some() || value(FLAGS).is_some_and(|flags| flags & FLAG_TEXTREL != 0);

        const STRTAB: u64 = 5;
        const STRSZ: u64 = 10;
        let (Some(address), Some(length)) = (value(STRTAB), value(STRSZ)) else { return Ok(()) };
        let offset = all.iter().find_map(|segment| segment.offset_of(address));
        let Some(strings) = offset.map(|offset| bytes(content, offset, length)).transpose()?.flatten() else {
            return Ok(());
        };
        const NEEDED: u64 = 1;
        let named = entries.iter().filter(|(tag, _)| *tag == NEEDED);
        self.needed = named.map(|(_, at)| text(&strings, *at)).collect();
        const RPATH: u64 = 15;
        const RUNPATH: u64 = 29;
        if let Some(at) = value(RUNPATH).or(value(RPATH)) {
            self.run_path = text(&strings, at).split(':').map(str::to_owned).collect();
        }
        self.takes = Taken {
            execveat: contains(&strings, b"\0execveat\0"),
            prctl: contains(&strings, b"\0prctl\0"),
            syscall: contains(&strings, b"\0syscall\0"),
        };
        // A static program that can lie anywhere relocates itself.
        self.alone = self.needed.is_empty() && self.entry;
        Ok(())
    }
}

/// One program header.
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    length: u64,
}

impl Segment {
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    const STACK: u32 = 0x6474_e551;
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;

    fn parse(entry: &[u8], wide: bool) -> Self {
        let width = if wide { 8 } else { 4 };
        let word = |narrow, wide_at| number(entry, if wide { wide_at } else { narrow }, width);
        Self {
            kind: number(entry, 0, 4) as u32,
            flags: number(entry, if wide { 4 } else { 24 }, 4) as u32,
            offset: word(4, 8),
            address: word(8, 16),
            length: word(16, 32),
        }
    }

    /// Where in the file an address of this segment lies.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address).filter(|within| *within < self.length);
        within.filter(|_| self.kind == Self::LOAD).and_then(|within| self.offset.checked_add(within))
    }
}

/// `None` past the file's end, or where it is more than anything here may be.
pub(crate) fn bytes(content: &Content, offset: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    let end = offset.checked_add(length);
    let fits = length <= MOST_BYTES && end.is_some_and(|end| end <= content.len);
    if !fits {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    content.read_exact_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}

/// A little-endian number; 0 where there is none.
pub(crate) fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let found = bytes.get(at..).and_then(|rest| rest.get(..width)).unwrap_or_default();
    found.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The string at this place, up to its NUL.
fn text(strings: &[u8], at: u64) -> String {
    let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..)).unwrap_or_default();
    String::from_utf8_lossy(rest.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
