//! `graven build` and `graven plan`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::build::{Built, build};
use graven::deliver::{DISK, Extras, LOCK};
use graven::error::{Error, Fault};
use graven::firmware::{self, UBoot};
use graven::kernel::summary;
use graven::output::Staging;
use graven::plan::{Circumstances, Plan, refuse_unbuildable, resolve};
use graven::signers::Signers;
use graven::stage0;
use graven::supply::fetch::provide;
use graven::supply::lock::{Keep, Locked};
use graven::tools::Tools;
use graven_boot::keys;
use graven_boot::sign::Request;
use graven_finish::Ids;
use graven_handoff::hex;
use graven_image::formats::Format;
use graven_recipe::lock::Lock;
use graven_recipe::{Profile, Recipe, Selection};
use graven_targets::BootChain;
use graven_verify::manifest::{Manifest, Standing};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::attach;
use super::expiry::ExpiryArguments;
use super::progress::Bar;
use super::supply::SupplyArguments;
use super::twice::{self, build_again};
use super::{Failure, Outcome, Status, print};

/// What the two verbs have in common.
#[derive(Debug, clap::Args)]
struct Choice {
    /// The recipe, or the folder that holds recipe.toml.
    recipe: PathBuf,
    /// Build for this target only; without, for each of the recipe's.
    #[arg(long)]
    target: Option<String>,
    /// How strict the image is: release or development.
    #[arg(long, default_value = "release", value_parser = profile)]
    profile: Profile,
    /// Override a value of the recipe, such as --set version=1.2.4; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Threads to work with; all processors without.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Folder in which programs of this machine (mkfs.erofs, sqfstar, mke2fs) are looked for first.
    #[arg(long, value_name = "DIR")]
    tools: Option<PathBuf>,
    /// The lock as it was for the build that this one goes on with, or is compared with: what --set asks is in it, too.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "locked")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    supply: SupplyArguments,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven build recipes/minimal --keys keys/\n\n\
    SOURCE_DATE_EPOCH overrides the recipe's source-date; GRAVEN_DEBIAN_MIRROR names the mirror of repositories that state \
    no url.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    /// The output folder, replaced only if it holds a manifest of ours [default: out/NAME-VERSION-TARGET, with -development
    /// after it for a development image].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Folder of private keys, or of certificates alone to sign elsewhere [default: development keys beside the output].
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Folder of answers to signing requests [default: OUT.pending].
    #[arg(long, value_name = "DIR")]
    answers: Option<PathBuf>,
    /// Use this stage0 instead of the one that graven carries.
    #[arg(long, value_name = "FILE")]
    stage0: Option<PathBuf>,
    /// Put the plain SHA-256 of the whole disk into the manifest, too.
    #[arg(long)]
    sha256: bool,
    /// Build a second time under other conditions and compare every file; exit status 1 where one differs.
    #[arg(long)]
    check: bool,
    /// End when the program ends that started this one: it alone waits for the image.
    #[arg(long, hide = true)]
    with_parent: bool,
    /// Write the disk in another form beside disk.img, too: raw.zst, qcow2, vhd, vhdx, or bmap for bmaptool; may be given more
    /// than once.
    #[arg(long = "format", value_name = "FORMAT", value_parser = format)]
    formats: Vec<Format>,
    #[command(flatten)]
    expiry: ExpiryArguments,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven plan recipes/minimal")]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    choice: Choice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn format(word: &str) -> Result<Format, String> {
    Format::from_name(word).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
        format!("expected one of {}; disk.img is always written", names.join(", "))
    })
}

fn profile(word: &str) -> Result<Profile, String> {
    Profile::parse(word).ok_or_else(|| "expected release or development".into())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.fault() {
            Fault::Input => Status::Bad,
            Fault::Usage => Status::Usage,
            Fault::Environment => Status::Environment,
        };
        Self { status, error: error.into() }
    }
}

impl Choice {
    /// The targets to build for.
    fn targets(&self) -> Result<Vec<String>, Failure> {
        match &self.target {
            Some(target) => Ok(vec![target.clone()]),
            None => Ok(Recipe::targets_of(&self.recipe).map_err(Error::from)?),
        }
    }

    fn selection(&self, target: Option<&str>) -> Selection {
        Selection { target: target.map(str::to_owned), profile: self.profile, sets: self.sets.clone() }
    }

    /// Reads the recipe for one target, locks and fetches what it takes from repositories, and opens its inputs.
    fn plan(
        &self,
        target: &str,
        spool: &Path,
        keep: Keep,
        source_date_epoch: Option<i64>,
    ) -> Result<(Plan, Locked), Failure> {
        let loaded = Recipe::load(&self.recipe, &self.selection(Some(target))).map_err(Error::from)?;
        let mut locked = match &self.lock {
            Some(file) => Locked::frozen(file)?,
            None => self.supply.lock(&self.recipe, &loaded.recipe, keep)?,
        };
        let provided = self.supply.with(|supplies| provide(&loaded.recipe, &locked, supplies))?;
        let tools = Tools::first_in(self.tools.clone());
        let circumstances = Circumstances {
            source_date_epoch,
            spool,
            tools: &tools,
            provided: &provided,
            ids: &locked.ids(),
        };
        let plan = resolve(loaded, circumstances)?;
        locked.hold_tools(&plan.inputs, &|line| eprintln!("graven: {line}"))?;
        Ok((plan, locked))
    }

    fn in_pool<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
        let threads = self.jobs.map_or(0, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        Ok(pool.map_err(Status::Environment.because())?.install(work))
    }
}

/// The environment's word on time, read here and nowhere else.
pub(super) fn source_date_epoch() -> Result<Option<i64>, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(text) => match text.parse() {
            Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
            _ => Err(Status::Usage.because()(anyhow!(
                "SOURCE_DATE_EPOCH={text}: expected seconds since 1970, as in 1767225600"
            ))),
        },
    }
}

/// How far a build is with the signatures that it waits for, and the time that it has from its first round on.
#[derive(Default)]
pub(super) struct Round<'a> {
    /// `SOURCE_DATE_EPOCH`, as it was when the build began.
    pub(super) source_date_epoch: Option<i64>,
    /// Where its requests lie; beside the output where nothing is said.
    pub(super) pending: Option<&'a Path>,
    /// Requests whose answers are there.
    pub(super) answered: &'a [Request],
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    if arguments.with_parent {
        set_parent_process_death_signal(Some(Signal::TERM)).map_err(Status::Environment.because())?;
    }
    arguments.resume(&Round { source_date_epoch: source_date_epoch()?, ..Round::default() })
}

fn each_target(arguments: &Arguments, round: &Round<'_>) -> Outcome {
    let targets = arguments.choice.targets()?;
    if targets.len() > 1 && arguments.out.is_some() {
        return Err(Status::Usage.because()(anyhow!(
            "--out names one folder, the recipe is for {} targets ({}): give --target, too",
            targets.len(),
            targets.join(", ")
        )));
    }
    let mut worst = Status::Good;
    for target in &targets {
        match arguments.choice.in_pool(|| one(arguments, target, round))?? {
            Status::Good => {}
            status if worst == Status::Good => worst = status,
            _ => {}
        }
    }
    Ok(worst)
}

fn one(arguments: &Arguments, target: &str, round: &Round<'_>) -> Outcome {
    let loaded = Recipe::load(&arguments.choice.recipe, &arguments.choice.selection(Some(target)));
    let recipe = loaded.map_err(Error::from)?.recipe;
    refuse_unbuildable(&recipe)?;
    // A development image does not lie where a release would.
    let profile = match recipe.profile {
        Profile::Release => "",
        Profile::Development => "-development",
    };
    let out = arguments.out.clone().unwrap_or_else(|| {
        let name = format!("{}-{}-{}{profile}", recipe.name, recipe.version, recipe.target.name);
        Path::new("out").join(name)
    });
    let stage0 = match &arguments.stage0 {
        Some(path) => std::fs::read(path)
            .with_context(|| path.display().to_string())
            .map_err(Status::Environment.because())?,
        None => stage0::carried(recipe.target.arch).map_err(Status::Usage.because())?.to_vec(),
    };
    let pending = round.pending.map_or_else(|| sibling(&out, ".pending"), Path::to_owned);
    let answers = arguments.answers.as_deref().unwrap_or(&pending);
    let keys = match &arguments.keys {
        Some(folder) => folder.clone(),
        None => development_keys(&out)?,
    };
    let chain = recipe.target.boot_chain;
    let signers = Signers::of(chain, &keys, Some(answers)).map_err(Error::from)?;
    arguments.expiry.warn(signers.certificates())?;
    let staging = Staging::open(&out).map_err(Error::from)?;
    let epoch = round.source_date_epoch;
    let (plan, mut locked) = arguments.choice.plan(target, staging.folder(), Keep::OnDisk, epoch)?;
    let mut number = |ids: &Ids| {
        locked.number(ids, &|line| eprintln!("graven: {line}"))?;
        Ok(locked.lock().map(Lock::render))
    };
    let extras = Extras { sha256: arguments.sha256, formats: arguments.formats.iter().copied().collect() };
    let bar = Bar::bytes("writing the root");
    match build(plan, &stage0, &signers, &extras, staging, &mut number, &bar)? {
        Built::Pending(requests) => {
            refuse_changed(round.answered, &requests)?;
            let lock = attach::leave_lock(&pending, locked.lock())?;
            let words = arguments.words_to_go_on(target, &keys, &out, lock.as_deref())?;
            attach::leave_record(&pending, &words, epoch, answers)?;
            let next = format!("as ID.sig, and go on with graven attach {}", pending.display());
            ask(&pending, &requests, &next)
        }
        Built::Image(manifest) => {
            let disk = out.join(DISK);
            let volumes = manifest.volumes.iter();
            let volumes: String = volumes
                .map(|volume| {
                    format!(
                        "  volume     {} on {} ({})\n",
                        volume.image.root_hash, volume.target, volume.name
                    )
                })
                .collect();
            let (development_keys, development_image) =
                (signers.any_development(), manifest.profile != Profile::Release.to_string());
            let allowed = if development_keys || development_image { " --allow-development" } else { "" };
            print(&format!(
                "{}\n  root hash  {}\n{volumes}  policy     {} {} ({})\n  boot it    graven run {}\n  prove it   graven verify {} {}{allowed}\n",
                disk.display(),
                manifest.root.root_hash,
                manifest.policy.name,
                manifest.policy.version,
                manifest.policy.mode,
                out.display(),
                disk.display(),
                trust(chain, &keys),
            ))?;
            if let Some(line) = open_interpreters(&manifest) {
                eprintln!("graven: {line}");
            }
            if development_keys {
                eprintln!("graven: signed with development keys: do not ship this image");
            }
            if development_image {
                eprintln!("graven: this is a development image");
            }
            match arguments.check {
                true => {
                    let lock = manifest.lock_sha256.as_ref().map(|_| out.join(LOCK));
                    let words = arguments.words_to_compare(target, &keys, answers, lock.as_deref())?;
                    build_again(&words, epoch, &out)
                }
                false => Ok(Status::Good),
            }
        }
    }
}

impl Arguments {
    /// Builds, after so many rounds of signatures.
    pub(super) fn resume(&self, round: &Round<'_>) -> Outcome {
        each_target(self, round)
    }

    /// The folders of keys and of answers, where they are stated.
    pub(super) fn keys_and_answers(&self) -> (Option<&Path>, Option<&Path>) {
        (self.keys.as_deref(), self.answers.as_deref())
    }

    /// The words by which another build makes the same, wherever it is started: from this lock, where there is one.
    fn words(&self, target: &str, keys: &Path, lock: Option<&Path>) -> Result<Vec<OsString>, Failure> {
        let choice = &self.choice;
        let mut words: Vec<OsString> = vec![absolute(&choice.recipe)?];
        let mut say = |option: &str, value: OsString| words.extend([option.into(), value]);
        say("--target", target.into());
        say("--profile", choice.profile.to_string().into());
        say("--keys", absolute(keys)?);
        say("--store", absolute(&choice.supply.store()?)?);
        choice.sets.iter().for_each(|set| say("--set", set.into()));
        self.formats.iter().for_each(|format| say("--format", format.name().into()));
        if let Some(file) = &self.stage0 {
            say("--stage0", absolute(file)?);
        }
        if let Some(folder) = &choice.tools {
            say("--tools", absolute(folder)?);
        }
        match lock {
            Some(file) => words.extend(["--lock".into(), absolute(file)?]),
            None => words.push("--locked".into()),
        }
        words.extend(self.sha256.then(|| "--sha256".into()));
        Ok(words)
    }

    /// Those of a second build that is compared with the first: from the lock and the store that this one left.
    fn words_to_compare(
        &self,
        target: &str,
        keys: &Path,
        answers: &Path,
        lock: Option<&Path>,
    ) -> Result<Vec<OsString>, Failure> {
        let threads = twice::other_number_of(rayon::current_num_threads());
        let mut words = self.words(target, keys, lock)?;
        words.extend(["--jobs".into(), threads.to_string().into()]);
        words.extend(["--answers".into(), absolute(answers)?, "--offline".into()]);
        Ok(words)
    }

    /// Those by which this build goes on when its signatures are there.
    fn words_to_go_on(
        &self,
        target: &str,
        keys: &Path,
        out: &Path,
        lock: Option<&Path>,
    ) -> Result<Vec<OsString>, Failure> {
        let mut words = self.words(target, keys, lock)?;
        words.extend(["--out".into(), absolute(out)?]);
        if let Some(answers) = &self.answers {
            words.extend(["--answers".into(), absolute(answers)?]);
        }
        if let Some(jobs) = self.choice.jobs {
            words.extend(["--jobs".into(), jobs.to_string().into()]);
        }
        words.extend(self.choice.supply.offline().then(|| "--offline".into()));
        words.extend(["--expiry-warning".into(), self.expiry.days().to_string().into()]);
        words.extend(self.check.then(|| "--check".into()));
        Ok(words)
    }
}

/// A path that means the same from every folder.
fn absolute(path: &Path) -> Result<OsString, Failure> {
    let whole = std::path::absolute(path).with_context(|| path.display().to_string());
    Ok(whole.map_err(Status::Environment.because())?.into())
}

/// A build that asks once more for what was signed makes something else than it did when it asked.
fn refuse_changed(answered: &[Request], asked: &[Request]) -> Result<(), Failure> {
    let again = asked.iter().find_map(|now| {
        let before = answered.iter().find(|before| before.purpose() == now.purpose())?;
        Some((before, now))
    });
    let Some((before, now)) = again else { return Ok(()) };
    Err(Status::Bad.because()(anyhow!(
        "what is built has changed since the signatures were asked for: {} had the digest {}, now it has {}. Recipe, inputs and \
         keys must stay until the image is there; graven build asks anew",
        before.purpose(),
        hex::encode(&before.digest()),
        hex::encode(&now.digest()),
    )))
}

/// What is to be said of interpreters of which the recipe says nothing.
fn open_interpreters(manifest: &Manifest) -> Option<String> {
    let open = manifest.interpreters.iter().filter(|interpreter| interpreter.standing == Standing::Open);
    let open: Vec<&str> = open.map(|interpreter| interpreter.path.as_str()).collect();
    let (one, more) = (open.first()?, open.len().saturating_sub(1));
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!(
        "scripts are run without asking the kernel, and past the policy, by {one}{more}: graven policy scripts tells more"
    ))
}

/// The certificates that an image of this chain is proved by, as `graven verify` takes them.
fn trust(chain: BootChain, keys: &Path) -> String {
    let certificate = |name: &str| keys.join(name).display().to_string();
    match chain {
        BootChain::Uki => format!("--trust {}", certificate("db.crt")),
        BootChain::Fit => {
            let (boot, policy) = (certificate("fit.crt"), certificate("policy.crt"));
            format!("--trust-boot {boot} --trust-policy {policy} --trust-root {policy}")
        }
    }
}

/// Leaves the requests where the answers are expected, and says what comes `next`.
pub(super) fn ask(folder: &Path, requests: &[Request], next: &str) -> Outcome {
    let list = attach::leave(folder, requests)?;
    let count = match requests.len() {
        1 => "1 signature is missing".to_owned(),
        count => format!("{count} signatures are missing"),
    };
    eprintln!("graven: {count}: sign what {} lists, put each answer beside it {next}", list.display());
    Ok(Status::Pending)
}

/// `out/NAME` with something after it.
pub(super) fn sibling(out: &Path, suffix: &str) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    out.with_file_name(name)
}

/// Keys for the desk, made on first use beside the output.
fn development_keys(out: &Path) -> Result<PathBuf, Failure> {
    let folder = out.with_file_name("development-keys");
    if !folder.join("db.crt").exists() {
        eprintln!("graven: no --keys: making development keys in {}", folder.display());
        keys::create(&folder, &keys::Options::development("Graven"))
            .with_context(|| format!("making keys in {}", folder.display()))
            .map_err(Status::Environment.because())?;
    }
    Ok(folder)
}

pub(crate) fn plan(arguments: &PlanArguments) -> Outcome {
    let (spool, epoch) = (std::env::temp_dir(), source_date_epoch()?);
    for target in arguments.choice.targets()? {
        let choice = &arguments.choice;
        let (plan, _) = choice.in_pool(|| choice.plan(&target, &spool, Keep::InMemory, epoch))??;
        print(&show(&plan, arguments.json)?)?;
    }
    Ok(Status::Good)
}

fn show(plan: &Plan, json: bool) -> Result<String, Failure> {
    let recipe = &plan.recipe;
    let kernel = summary(&plan.kernel, recipe)?;
    let u_boot = firmware::inspect(plan, None)?;
    if json {
        let value = serde_json::json!({
            "name": recipe.name,
            "version": recipe.version.to_string(),
            "target": recipe.target.name,
            "profile": recipe.profile.to_string(),
            "source_date": plan.source_date,
            "kernel": kernel.release,
            "accepted": kernel.accepted,
            "refused": kernel.refused,
            "u_boot": u_boot.as_ref().map(|u_boot| serde_json::json!({
                "versions": u_boot.inspection.versions,
                "accepted": u_boot.accepted,
                "refused": u_boot.inspection.refusals.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "unproved": u_boot.inspection.open.iter().map(|open| open.name).collect::<Vec<_>>(),
            })),
            "inputs": plan.inputs,
        });
        return Ok(format!("{value:#}\n"));
    }
    let mut text = format!(
        "{} {} for {} ({})\n  source-date  {}\n  kernel       {}\n",
        recipe.name, recipe.version, recipe.target.name, recipe.profile, plan.source_date, kernel.release
    );
    for (name, reason) in &kernel.accepted {
        text.push_str(&format!("  accepted     {name}: {reason}\n"));
    }
    for refusal in &kernel.refused {
        text.push_str(&format!("  REFUSED      {refusal}\n"));
    }
    if recipe.target.boot_chain == BootChain::Fit {
        text.push_str(&show_u_boot(u_boot.as_ref()));
    }
    for input in &plan.inputs {
        let sha256 = input.sha256.as_deref().unwrap_or("each file by itself");
        text.push_str(&format!("  {:<12} {}  {sha256}\n", input.kind, input.name));
    }
    Ok(text)
}

/// The link from U-Boot to the FIT, as far as the recipe's U-Boot tells.
fn show_u_boot(u_boot: Option<&UBoot>) -> String {
    let Some(UBoot { inspection, accepted, .. }) = u_boot else {
        let how = "name it with [firmware] u-boot = \"u-boot.bin\" to have it inspected";
        return format!("  u-boot       unproved: not given; {how}\n");
    };
    let mut text = format!("  u-boot       {}\n", inspection.versions.join(", "));
    for (name, reason) in accepted {
        text.push_str(&format!("  accepted     {name}: {reason}\n"));
    }
    for refusal in &inspection.refusals {
        text.push_str(&format!("  REFUSED      {refusal}\n"));
    }
    for open in &inspection.open {
        text.push_str(&format!("  unproved     {}: {}\n", open.name, open.why));
    }
    text
}
