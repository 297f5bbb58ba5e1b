//! Reading a UKI.

use std::ops::Range;

use super::build::{DTB, DTBAUTO, check_device_tree};
use super::{DeviceTreeProblem, UkiError};
use crate::pe::{Image, Section};

/// A UKI whose layout has been checked: each part occurs once, nothing overlaps in file or memory, and no profile can
/// replace a part at boot. Whether anyone signed it is for [`crate::authenticode`] to say.
#[derive(Clone, Debug)]
pub struct Uki<'a> {
    image: Image<'a>,
}

impl<'a> Uki<'a> {
    /// Reads a UKI; `.linux` must be there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, UkiError> {
        let image = Image::parse(bytes).map_err(|source| UkiError::Pe { part: "UKI", source })?;
        refuse_repeated(&image.sections)?;
        if image.sections.iter().any(|section| section.name == ".profile") {
            return Err(UkiError::Profiles);
        }
        refuse_overlap_in_memory(&image)?;
        let uki = Self { image };
        uki.linux()?;
        Ok(uki)
    }

    /// The PE image.
    pub fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Every section, the stub's own included, in the order of the table.
    pub fn sections(&self) -> &[Section] {
        &self.image.sections
    }

    /// A section's contents, cut to its size in memory.
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name).map(|section| self.image.contents(section))
    }

    /// Where a section's contents lie in the file.
    pub fn range(&self, name: &str) -> Option<Range<usize>> {
        let section = self.find(name)?;
        let length = self.image.contents(section).len();
        Some(section.raw.start..section.raw.start.saturating_add(length))
    }

    /// The kernel. Its size in memory may exceed its file's, so up to FileAlignment − 1 zeros can follow it.
    pub fn linux(&self) -> Result<&'a [u8], UkiError> {
        self.section(".linux").ok_or(UkiError::Missing { name: ".linux" })
    }

    /// The initramfs.
    pub fn initrd(&self) -> Result<&'a [u8], UkiError> {
        self.section(".initrd").ok_or(UkiError::Missing { name: ".initrd" })
    }

    /// The command line, exactly as it stands there.
    pub fn cmdline(&self) -> Result<&'a str, UkiError> {
        self.text(".cmdline")
    }

    /// The kernel's release.
    pub fn uname(&self) -> Result<&'a str, UkiError> {
        self.text(".uname")
    }

    /// The text of os-release.
    pub fn os_release(&self) -> Result<&'a str, UkiError> {
        self.text(".osrel")
    }

    /// The device trees that the stub would hand to the kernel in place of the firmware's, in the order of the table: name of
    /// the section, contents, and what is wrong with them.
    pub fn device_trees(&self) -> impl Iterator<Item = (&str, &'a [u8], Result<(), DeviceTreeProblem>)> {
        let sections =
            self.image.sections.iter().filter(|section| [DTB, DTBAUTO].contains(&section.name.as_str()));
        sections.map(|section| {
            let contents = self.image.contents(section);
            (section.name.as_str(), contents, check_device_tree(&section.name, contents))
        })
    }

    fn text(&self, name: &'static str) -> Result<&'a str, UkiError> {
        let contents = self.section(name).ok_or(UkiError::Missing { name })?;
        std::str::from_utf8(contents).map_err(|error| UkiError::Text { name, offset: error.valid_up_to() })
    }

    fn find(&self, name: &str) -> Option<&Section> {
        self.image.sections.iter().find(|section| section.name == name)
    }
}

fn refuse_repeated(sections: &[Section]) -> Result<(), UkiError> {
    for (number, section) in sections.iter().enumerate() {
        let repeats = sections.iter().take(number).any(|earlier| earlier.name == section.name);
        if repeats && !MAY_REPEAT.contains(&section.name.as_str()) {
            return Err(UkiError::Twice { name: section.name.clone() });
        }
    }
    Ok(())
}

fn refuse_overlap_in_memory(image: &Image<'_>) -> Result<(), UkiError> {
    let alignment = u64::from(image.optional.section_alignment.get()).max(1);
    let image_end = u64::from(image.optional.image_size.get());
    let mut free = u64::from(image.optional.headers_size.get());
    for section in &image.sections {
        let start = u64::from(section.virtual_address);
        let end = start.saturating_add(section.virtual_size.into());
        if start < free || end > image_end || start.checked_rem(alignment) != Some(0) {
            return Err(UkiError::Memory { name: section.name.clone(), found: start, expected: free });
        }
        free = end;
    }
    Ok(())
}

/// Sections of which the stub picks one by hardware.
const MAY_REPEAT: [&str; 2] = [DTBAUTO, ".efifw"];
