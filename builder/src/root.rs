//! Write: the root file system and the volumes go into their final places in the disk image and are hashed on their way
//! there.

use std::fs::File;
use std::path::Path;

use graven_image::erofs::{self, FileRecord};
use graven_image::gpt::Table;
use graven_recipe::Root;
use graven_verity::dm::Salt;
use graven_verity::io::WriteAt;
use graven_verity::progress::Progress;
use graven_verity::stream::Consumer;

use crate::assemble::Rootfs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::hash_area::{HashArea, tree_params};
use crate::identity;
use crate::layout::{self, Places, Wanted};
use crate::packed::{self, PackedRoot};
use crate::plan::Plan;

/// A root file system that lies on the disk, the volumes beside it, and the trees over them.
#[derive(Debug)]
pub struct RootImage {
    /// The disk image; so far it holds file systems and trees.
    pub disk: File,
    /// Where everything lies.
    pub table: Table,
    /// Which entries of the table are what.
    pub places: Places,
    /// The root.
    pub root: Device,
    /// The volumes, in the recipe's order.
    pub volumes: Vec<Device>,
    /// Every regular file of the root, hashed.
    pub files: Vec<FileRecord>,
    /// Where each of its paths is, where we wrote it ourselves.
    pub kept: erofs::Places,
}

/// Writes the root and the volumes to a new disk image at `path`. Of a root that we write ourselves each source byte is read
/// once, or twice where files are to share blocks, and each output byte written once; what a program of this machine wrote is
/// read again.
///
/// # Errors
/// A tree that EROFS cannot hold, a root or a volume that does not fit its partition, a source that changed while it was
/// read, and whatever the file system says.
pub fn write(plan: &Plan, rootfs: &Rootfs, path: &Path, progress: &dyn Progress) -> Result<RootImage> {
    let Plan { recipe, volumes, .. } = plan;
    let named = [recipe.name.as_str(), &recipe.version.to_string(), &recipe.target.name];
    let image = Source::of(plan, rootfs, &named, path)?;
    let salt = match &recipe.verity.salt {
        Some(bytes) => Salt::new(bytes),
        None => identity::salt(&named),
    };
    let limit = |error: &dyn std::fmt::Display| Error::Limit(error.to_string());
    let root = tree_params(image.len(), salt.map_err(|error| limit(&error))?)?;
    let mut others = Vec::new();
    for volume in volumes {
        let salt = identity::salt(&[&named[..], &[volume.name()]].concat());
        let params = tree_params(volume.bytes(), salt.map_err(|error| limit(&error))?)?;
        others.push(Wanted { volume, params });
    }
    let (table, places) = layout::plan(recipe, &named, image.len(), &root, &others)?;

    let writing = |source| Error::io(path, source);
    let disk = File::options().read(true).write(true).create_new(true).open(path).map_err(writing)?;
    disk.set_len(table.disk_bytes).map_err(writing)?;
    let area = HashArea::of(&root, recipe.verity.fec_roots)?;
    let kept = image.places();
    let fill = |place: &dyn WriteAt, tree: &mut dyn Consumer| match image {
        Source::Plain(image) => {
            let written = erofs::write(&image, place, &mut [tree], progress)?;
            Ok((written.files, written.image))
        }
        Source::Packed(packed) => {
            let stretch = packed.copy(place, tree, progress)?;
            Ok((packed.files, stretch))
        }
    };
    let written = Device::write(&disk, &table, places.slots[0], root, area, fill, progress);
    let (root, files) = written.map_err(|source| Error::root(path, source))?;
    let mut devices = Vec::new();
    for (Wanted { volume, params }, slots) in others.into_iter().zip(&places.volumes) {
        let area = HashArea::of(&params, recipe.verity.fec_roots)?;
        let fill =
            |place: &dyn WriteAt, tree: &mut dyn Consumer| Ok(((), volume.copy(place, tree, progress)?));
        let written = Device::write(&disk, &table, slots[0], params, area, fill, progress);
        devices.push(written.map_err(writing)?.0);
    }
    Ok(RootImage { disk, table, places, root, volumes: devices, files, kept })
}

/// Where the root's bytes come from.
enum Source<'t> {
    /// From the tree, on the fly.
    Plain(erofs::Image<'t>),
    /// From a file that a program of this machine wrote.
    Packed(PackedRoot),
}

impl<'t> Source<'t> {
    fn of(plan: &Plan, rootfs: &'t Rootfs, named: &[&str], disk: &Path) -> Result<Self> {
        let (tree, source_date) = (&rootfs.tree, rootfs.source_date);
        let Root::Plain { dedupe } = plan.recipe.root else {
            let spool = disk.parent().unwrap_or(Path::new("."));
            let packed = packed::write(&plan.recipe.root, tree, named, source_date, &plan.tools, spool)?;
            return Ok(Self::Packed(packed));
        };
        let options = erofs::Options {
            uuid: identity::uuid("erofs", named),
            build_time: source_date,
            volume_name: String::new(),
        };
        let old = &plan.places;
        if !dedupe {
            return Ok(Self::Plain(erofs::Image::plan_like(tree, &options, old)?));
        }
        let contents = erofs::Contents::read(tree).map_err(Error::Contents)?;
        Ok(Self::Plain(erofs::Image::plan_sharing(tree, &options, old, contents)?))
    }

    /// Where each path is.
    fn places(&self) -> erofs::Places {
        match self {
            Self::Plain(image) => image.places().collect(),
            Self::Packed(_) => erofs::Places::default(),
        }
    }

    /// Length in whole blocks.
    fn len(&self) -> u64 {
        match self {
            Self::Plain(image) => image.len(),
            Self::Packed(packed) => packed.len(),
        }
    }
}
