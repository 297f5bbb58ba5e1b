//! The recipe: what goes into an appliance image, and how strict it is.
//!
//! A recipe is a TOML file. [`Recipe::load`] reads it and the files it inherits, lays the sections for one target and
//! one profile over it, then the `--set` overrides, and answers with a value in which nothing is left to check but
//! what other files contain. Each mistake is reported with file, line, column, the line itself and the nearest right
//! word; all mistakes at once.
//!
//! ```
//! use graven_recipe::{Profile, Recipe, Selection};
//!
//! let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/minimal");
//! let selection = Selection { target: Some("qemu-x86_64".into()), ..Selection::default() };
//! let loaded = Recipe::load(folder.as_ref(), &selection)?;
//! assert_eq!(loaded.recipe.name, "minimal");
//! assert_eq!(loaded.recipe.profile, Profile::Release);
//! # Ok::<(), graven_recipe::RecipeError>(())
//! ```
#![forbid(unsafe_code)]

pub mod lock;

mod decode;
mod error;
mod fields;
mod layers;
mod load;
mod overrides;
mod paths;
mod place;
mod recipe;
mod reference;
mod schema;
mod size;
mod value;
mod words;

pub use error::{Problem, RecipeError, Snippet};
pub use load::{Loaded, Selection};
pub use paths::{FilePattern, LocalPath};
pub use place::{At, Place};
pub use recipe::{
    Boot, Content, Disk, FileEntry, Firmware, ImageChoice, ImageReference, Init, Kernel, KernelSource,
    Lockdown, Modules, Mount, Owner, PackageRequest, Packages, Packed, Policy, PolicyRule, Provision, Reason,
    Recipe, Repository, Root, Scripts, Services, Source, SourceKind, State, StateSize, Stub, User, Verity,
    Version, Volume,
};
pub use reference::reference;
pub use schema::schema;
pub use size::parse_size;
pub use words::{
    Compressor, IfDamaged, Metadata, MountContents, MountType, OnFailure, PolicyAction, PolicyMode, PolicyOp,
    Profile, Relaxation, RootFs, SecureBoot, SeedTime, StateFs, Unenlightened,
};
