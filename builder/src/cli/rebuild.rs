//! `graven rebuild`: the same image once more, from what its manifest pins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::build::{Built, build};
use graven::deliver::{DISK, Extras, LOCK, MANIFEST};
use graven::error::Error;
use graven::output::{Staging, folder_of, replace};
use graven::plan::{Circumstances, Plan, resolve};
use graven::rebuild::signers_of;
use graven::stage0;
use graven::supply::fetch::provide;
use graven::supply::lock::Locked;
use graven::tools::Tools;
use graven_boot::sign::{Purpose, Request};
use graven_image::formats::Format;
use graven_recipe::{Profile, Recipe, Selection};
use graven_verify::manifest::{Input, Manifest, sha256_hex};

use super::build::sibling;
use super::progress::Bar;
use super::supply::SupplyArguments;
use super::twice::{difference, names};
use super::{Failure, Outcome, Status, print};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graven rebuild out/acme-fw-2.4.1-x86_64-uefi --recipe recipes/acme-fw\n  \
    graven rebuild archive/manifest.json --recipe acme-fw --offline --store archive/store\n\n\
    What lies beside the manifest is taken: its lock, and the signatures, which hold for the same bytes alone, so that no key\n\
    is needed. Exit status 0: every file is the same, byte for byte; 1: something differs, and it is said what."
)]
pub(crate) struct Arguments {
    /// The manifest.json of a build, or the output folder that holds it.
    manifest: PathBuf,
    /// The recipe that the image was built from, or the folder that holds recipe.toml.
    #[arg(long, value_name = "RECIPE", default_value = ".")]
    recipe: PathBuf,
    /// Keep the rebuilt image there; without, it is removed when it is the same, else kept here in NAME.rebuilt, by the name of
    /// the original's folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The stage0 that the image has, where it is not the one that this graven carries.
    #[arg(long, value_name = "FILE")]
    stage0: Option<PathBuf>,
    /// Use no network: only what the store holds.
    #[arg(long)]
    offline: bool,
    /// Folder of fetched packages [default: ~/.cache/graven/store].
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Folder where programs that write file systems are looked for first.
    #[arg(long, value_name = "DIR")]
    tools: Option<PathBuf>,
    /// Threads to work with; all processors without.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

/// A build of long ago: its manifest, and the folder with the rest.
struct Original {
    folder: PathBuf,
    manifest: Manifest,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let threads = arguments.jobs.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(Status::Environment.because())?.install(|| rebuild(arguments))
}

fn rebuild(arguments: &Arguments) -> Outcome {
    let original = Original::read(&arguments.manifest)?;
    let Original { folder, manifest } = &original;
    let loaded = Recipe::load(&arguments.recipe, &original.selection()?).map_err(Error::from)?;
    let target = loaded.recipe.target.clone();
    let stage0 = match &arguments.stage0 {
        Some(path) => fs::read(path)
            .with_context(|| path.display().to_string())
            .map_err(Status::Environment.because())?,
        None => stage0::carried(target.arch).map_err(Status::Usage.because())?.to_vec(),
    };
    original.refuse_another_stage0(&stage0)?;
    let locked = original.lock()?;
    let signers = signers_of(folder, manifest, target.boot_chain)?;

    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => original.rebuilt()?,
    };
    original.refuse_in_place(&out)?;
    // Compared before it is an output.
    let place = Staging::open(&out).map_err(Error::from)?;
    let again = place.folder().join("out");
    let staging = Staging::open(&again).map_err(Error::from)?;
    let supply = SupplyArguments::frozen(arguments.offline, arguments.store.clone());
    let provided = supply.with(|supplies| provide(&loaded.recipe, &locked, supplies))?;
    let circumstances = Circumstances {
        source_date_epoch: Some(manifest.source_date),
        spool: staging.folder(),
        provided: &provided,
        ids: &locked.ids(),
        tools: &Tools::first_in(arguments.tools.clone()),
    };
    let plan = resolve(loaded, circumstances)?;
    let other = other_inputs(manifest, &plan);
    if !other.is_empty() {
        return differ("the inputs are not the ones that the manifest pins", &other);
    }
    // Numbers that the lock does not have are its owner's mistake, and show as other bytes.
    let mut locked = locked;
    let mut number = |ids: &graven_finish::Ids| {
        locked.number(ids, &|_| {})?;
        Ok(locked.lock().map(graven_recipe::lock::Lock::render))
    };
    let extras = Extras { sha256: manifest.disk.sha256.is_some(), formats: original.formats() };
    let bar = Bar::bytes("writing the root");
    match build(plan, &stage0, &signers, &extras, staging, &mut number, &bar)? {
        Built::Pending(requests) => {
            let lines: Vec<String> = requests.iter().map(|request| unsigned(manifest, request)).collect();
            differ(
                "the image came out otherwise, so that the signatures of the original do not hold for it",
                &lines,
            )
        }
        Built::Image(_) => {
            drop(bar);
            let (same, lines) = original.compare(&again)?;
            if arguments.out.is_some() || !lines.is_empty() {
                replace(&out, &again).map_err(Error::from)?;
            }
            if lines.is_empty() {
                return print(&format!(
                    "{}: rebuilt, {same} files the same byte for byte\n",
                    folder.display()
                ))
                .map(|()| Status::Good);
            }
            let status = differ("rebuilt, and not the same", &lines);
            eprintln!("graven: the second one is kept in {}", out.display());
            status
        }
    }
}

impl Original {
    fn read(path: &Path) -> Result<Self, Failure> {
        let path = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
        let text = fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))
            .map_err(Status::Environment.because())?;
        let manifest = Manifest::from_json(&text)
            .with_context(|| path.display().to_string())
            .map_err(Status::Bad.because())?;
        Ok(Self { folder: folder_of(&path).to_owned(), manifest })
    }

    /// For what the recipe is read.
    fn selection(&self) -> Result<Selection, Failure> {
        let Manifest { target, profile, sets, .. } = &self.manifest;
        let profile = Profile::parse(profile).ok_or_else(|| {
            Status::Bad.because()(anyhow!(
                "the manifest's profile is {profile:?}: release or development was expected"
            ))
        })?;
        Ok(Selection { target: Some(target.clone()), profile, sets: sets.clone() })
    }

    /// Where an image lies that came out otherwise.
    fn rebuilt(&self) -> Result<PathBuf, Failure> {
        let folder = fs::canonicalize(&self.folder)
            .with_context(|| self.folder.display().to_string())
            .map_err(Status::Environment.because())?;
        Ok(sibling(&folder, ".rebuilt").file_name().unwrap_or_default().into())
    }

    /// What is rebuilt must not take the place of what it is compared with.
    fn refuse_in_place(&self, out: &Path) -> Result<(), Failure> {
        let same =
            fs::canonicalize(out).is_ok_and(|out| fs::canonicalize(&self.folder).is_ok_and(|own| own == out));
        match same {
            true => Err(Status::Usage.because()(anyhow!(
                "{}: it holds the image that is built again: give another --out",
                out.display()
            ))),
            false => Ok(()),
        }
    }

    fn refuse_another_stage0(&self, stage0: &[u8]) -> Result<(), Failure> {
        let (found, builder) = (sha256_hex(stage0), &self.manifest.graven);
        if found == builder.stage0_sha256 {
            return Ok(());
        }
        Err(Status::Usage.because()(anyhow!(
            "the image has the stage0 sha256:{} of Graven {}, this is {} with sha256:{found}: rebuild with that Graven, or \
             give its stage0 with --stage0",
            builder.stage0_sha256,
            builder.version,
            env!("CARGO_PKG_VERSION")
        )))
    }

    /// The lock that lies beside the manifest.
    fn lock(&self) -> Result<Locked, Failure> {
        let path = self.folder.join(LOCK);
        let Some(expected) = &self.manifest.lock_sha256 else { return Ok(Locked::none()) };
        let bytes = fs::read(&path)
            .with_context(|| format!("reading {}", path.display()))
            .map_err(Status::Environment.because())?;
        let found = sha256_hex(&bytes);
        if found != *expected {
            return Err(Status::Bad.because()(anyhow!(
                "{}: it has sha256:{found}, the manifest pins sha256:{expected}",
                path.display()
            )));
        }
        Ok(Locked::frozen(&path)?)
    }

    /// The forms of the disk that lie beside it.
    fn formats(&self) -> std::collections::BTreeSet<Format> {
        let there = |format: &Format| self.folder.join(format!("disk.{}", format.ending())).exists();
        Format::ALL.into_iter().filter(there).collect()
    }

    /// How many files are the same, and how others differ.
    fn compare(&self, rebuilt: &Path) -> Result<(usize, Vec<String>), Failure> {
        let (mut same, mut lines) = (0, Vec::new());
        for name in names(rebuilt)? {
            let (one, other) = (self.folder.join(&name), rebuilt.join(&name));
            if one.exists() {
                match difference(&one, &other)? {
                    None => same += 1,
                    Some(line) => lines.push(line),
                }
            } else if name == Path::new(DISK) {
                eprintln!(
                    "graven: the original has no {DISK} here: its digest in the manifest is what it was compared by"
                );
            } else {
                lines.push(format!("{}: the original has none", name.display()));
            }
        }
        Ok((same, lines))
    }
}

/// Inputs that are not the pinned ones, each in a line.
fn other_inputs(manifest: &Manifest, plan: &Plan) -> Vec<String> {
    let shown = |input: &Input| {
        let sha256 = input.sha256.as_ref().map(|sum| format!(" sha256:{sum}")).unwrap_or_default();
        format!("{} {}{sha256}", input.kind, input.name)
    };
    let missing = manifest.inputs.iter().filter(|input| !plan.inputs.contains(input));
    let new = plan.inputs.iter().filter(|input| !manifest.inputs.contains(input));
    let missing = missing.map(|input| format!("pinned: {}", shown(input)));
    missing.chain(new.map(|input| format!("here:   {}", shown(input)))).collect()
}

/// What came out otherwise, by the signature that is missing for it.
fn unsigned(manifest: &Manifest, request: &Request) -> String {
    let text = String::from_utf8_lossy(request.to_be_signed());
    match request.purpose() {
        Purpose::Root => format!("root hash {text}; the original has {}", {
            let volumes = manifest.volumes.iter().map(|volume| volume.image.root_hash.as_str());
            std::iter::once(manifest.root.root_hash.as_str()).chain(volumes).collect::<Vec<_>>().join(", ")
        }),
        Purpose::Policy => {
            let found = sha256_hex(request.to_be_signed());
            format!("policy sha256:{found}; the original has sha256:{}", manifest.policy.sha256)
        }
        _ => "boot artefact: its kernel, initramfs or command line is another".to_owned(),
    }
}

fn differ(what: &str, lines: &[String]) -> Outcome {
    eprintln!("graven: {what}:");
    for line in lines {
        eprintln!("graven:   {line}");
    }
    Ok(Status::Bad)
}
