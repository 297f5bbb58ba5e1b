//! Volumes as the recipe names them: finished file systems, taken as they are.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use graven_boot::kernel::Kernel;
use graven_image::any;
use graven_image::probe::{FileSystem, Probed, probe};
use graven_image::tree::{Kind, Metadata, Tree, TreePath};
use graven_recipe::{self as recipe, Recipe};
use graven_verify::manifest::Input;
use graven_verity::fsverity::{self, Stretch};
use graven_verity::io::{Concat, ReadAt, WriteAt, Zeros};
use graven_verity::progress::Progress;
use graven_verity::stream::{self, Consumer, CopyTo};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::hash_area::BLOCK;
use crate::inputs::file_input;
use graven_handoff::hex::encode as hex;

/// A finished file system, opened and looked at.
#[derive(Debug)]
pub struct Volume {
    /// What the recipe says of it.
    pub stated: recipe::Volume,
    path: PathBuf,
    file: File,
    len: u64,
    sha256: String,
    probed: Probed,
}

/// Opens what the recipe names.
///
/// # Errors
/// Files that are missing, none of the file systems that a volume can have, or larger than the recipe gives them.
pub(crate) fn read(recipe: &Recipe) -> Result<Vec<(Volume, Input)>> {
    recipe.volumes.iter().map(open).collect()
}

fn open(stated: &recipe::Volume) -> Result<(Volume, Input)> {
    let path = stated.image.file()?;
    let failed = |error| Error::io(&path, error);
    let input = file_input("volume", &path)?;
    let file = File::open(&path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let place = &stated.image.place;
    let refused = |what: &dyn std::fmt::Display, remedy: &str| {
        let name = &stated.name.value;
        Error::Limit(format!("{place}: volume `{name}`: {}: {what}; {remedy}", path.display()))
    };
    let probed = probe(&file).map_err(|error| {
        let remedy = "make it with mkfs.erofs, mksquashfs or mke2fs -d, and name the whole file";
        refused(&error, remedy)
    })?;
    let sha256 = input.sha256.clone().unwrap_or_default();
    let volume = Volume { stated: stated.clone(), path: path.clone(), file, len, sha256, probed };
    if let Some(size) = &stated.size
        && size.value < volume.bytes()
    {
        let what =
            format!("{} bytes, and its `size` gives it {} ({})", volume.bytes(), size.value, size.place);
        return Err(refused(&what, "raise `size` or put less into it"));
    }
    Ok((volume, input))
}

impl Volume {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.stated.name
    }

    /// Which file system it is.
    #[must_use]
    pub fn file_system(&self) -> FileSystem {
        self.probed.file_system
    }

    /// Bytes of its device: whole blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len.next_multiple_of(u64::from(BLOCK))
    }

    /// Bytes of its data partition.
    #[must_use]
    pub fn partition_bytes(&self) -> u64 {
        self.stated.size.as_ref().map_or(self.bytes(), |size| size.value)
    }

    /// Copies it, filled up with zeros to whole blocks, and shows every byte to `tree`.
    pub(crate) fn copy(
        &self,
        place: &dyn WriteAt,
        tree: &mut dyn Consumer,
        progress: &dyn Progress,
    ) -> io::Result<Stretch> {
        let source = Source(self);
        let padded = Concat::new().then(&source, self.len).then(&Zeros, self.bytes() - self.len);
        let mut copy = CopyTo::sparse(place, BLOCK as usize);
        let mut stretch = Stretch::new(&fsverity::Params::default());
        let mut same = Same { hash: Sha256::new(), len: self.len };
        stream::run(&padded, self.bytes(), &mut [&mut copy, tree, &mut stretch, &mut same], progress)?;
        match hex(&same.hash.finalize()) == self.sha256 {
            true => Ok(stretch),
            false => Err(io::Error::other(format!("{} changed while it was read", self.path.display()))),
        }
    }

    /// Holds it against the kernel that is to mount it.
    ///
    /// # Errors
    /// A kernel that cannot, by its configuration.
    pub(crate) fn hold_against(&self, kernel: &Kernel) -> Result<()> {
        let Volume { stated, probed, .. } = self;
        let config = &kernel.config;
        let missing = probed.needs.iter().find(|symbol| !config.is_built_in(symbol));
        let own = probed.file_system.symbol();
        let missing = if config.is_on(own) { missing.copied() } else { Some(own) };
        match missing {
            None => Ok(()),
            Some(symbol) => Err(Error::Kernel(format!(
                "it cannot read the volume `{}` ({}, {}): CONFIG_{symbol} is not set; make the volume otherwise, or take \
                 another kernel",
                stated.name.value, probed.file_system, stated.image.place
            ))),
        }
    }

    /// The path from its own root on, where `other` is mounted in it.
    fn below<'a>(&self, other: &'a recipe::Volume) -> Option<&'a str> {
        other.target.strip_prefix(self.stated.target.as_str()).filter(|below| below.starts_with('/'))
    }

    /// Whether it has this folder, as far as its file system can be looked into here.
    fn lacks_folder(&self, path: &str) -> Result<bool> {
        let file = self.file.try_clone().map_err(|error| Error::io(&self.path, error))?;
        let Ok(tree) = any::Reader::open(file).and_then(|reader| reader.tree()) else { return Ok(false) };
        let id = tree.lookup(&TreePath::parse(path.as_bytes())?);
        Ok(!id.is_ok_and(|id| matches!(tree.inode(id).kind, Kind::Directory(_))))
    }
}

/// Makes the folders that volumes are mounted on; what the root had in them would be hidden.
///
/// # Errors
/// A folder that is not empty, or none; and one that a volume should have for another and has not.
pub(crate) fn prepare(tree: &mut Tree, volumes: &[Volume], metadata: &Metadata) -> Result<()> {
    for Volume { stated, .. } in volumes {
        let refused = |what: &str| {
            let (name, target) = (&stated.name.value, &stated.target);
            Err(Error::Limit(format!("{}: volume `{name}` on `{}`: {what}", target.place, target.value)))
        };
        let outer = volumes.iter().filter_map(|outer| Some((outer, outer.below(stated)?)));
        if let Some((outer, below)) = outer.min_by_key(|(_, below)| below.len()) {
            if outer.lacks_folder(below)? {
                let outer = outer.name();
                return refused(&format!(
                    "the volume `{outer}`, in which it is mounted, has no folder {below}"
                ));
            }
            continue;
        }
        let path = TreePath::parse(stated.target.as_bytes())?;
        tree.make_directories(&path, metadata)?;
        let id = tree.resolve(&path)?;
        match &tree.inode(id).kind {
            // stage0 follows none.
            _ if tree.canonical(&path)? != path => {
                return refused("a symbolic link leads there; name the folder itself");
            }
            Kind::Directory(entries) if entries.is_empty() => {}
            Kind::Directory(_) => {
                return refused("the root has something in that folder, which would be hidden; take another");
            }
            other => return refused(&format!("the root has a {} there", other.noun())),
        }
    }
    Ok(())
}

/// A volume's file: what cannot be read names it.
struct Source<'a>(&'a Volume);

impl ReadAt for Source<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let named = |error: io::Error| io::Error::other(format!("{}: {error}", self.0.path.display()));
        ReadAt::read_exact_at(&self.0.file, buf, offset).map_err(named)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len)
    }
}

/// Hashes the first bytes that it sees, as the input was hashed when it was opened.
struct Same {
    hash: Sha256,
    len: u64,
}

impl Consumer for Same {
    fn window(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.hash.update(&bytes[..left.min(bytes.len())]);
        Ok(())
    }
}
