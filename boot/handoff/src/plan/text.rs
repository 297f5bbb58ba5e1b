//! The plan's text.

use std::str::FromStr;

use super::*;
use crate::hex;
use crate::identity::RootHash;

const FORMAT: &str = "1";

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        text.push_str(key);
        text.push('=');
        text.push_str(value);
        text.push('\n');
    };
    line("graven-plan", FORMAT);
    line("image", &plan.image);
    line("policy.name", &plan.policy.name);
    line("policy.version", &plan.policy.version.to_string());
    if let Some(PolicyIdentity { name, version }) = &plan.compiled_in_policy {
        line("compiled-in-policy", &format!("{name} {version}"));
    }
    if let Some(path) = &plan.successor {
        line("policy.successor", path);
    }
    line("policy.enforcement", plan.enforcement.word());
    line("secure-boot", plan.secure_boot.word());
    line("kernel-lockdown", plan.kernel_lockdown.word());
    for module in &plan.security_modules {
        line("security-module", module);
    }
    for addition in &plan.additions {
        match addition {
            Addition::Before(bytes) => line("command-line.before", bytes),
            Addition::After(bytes) => line("command-line.after", bytes),
        }
    }
    for ModuleParameter { module, name, value } in &plan.module_parameters {
        line("module-parameter", &format!("{module} {name}={value}"));
    }
    line("wait-seconds", &plan.wait_seconds.to_string());
    verified(&mut line, "root", "verity", &plan.root);
    for Volume { name, target, programs, root_hash, image } in &plan.volumes {
        line("volume", &format!("{name} {target} {programs} {root_hash}"));
        let own = volume_keys(name);
        verified(&mut line, &own, &format!("{own}.verity"), image);
    }
    for Mount { source, target, file_system, options, on_damage, contents } in &plan.mounts {
        let source = match source {
            MountSource::Partition(uuid) => uuid.to_string(),
            MountSource::None => "none".to_owned(),
        };
        let options = if options.is_empty() { "-" } else { options };
        line("mount", &format!("{source} {target} {file_system} {options} {on_damage} {contents}"));
    }
    if let Some(State { partition, size, if_damaged, persist, exec, seed }) = &plan.state {
        line("state.partition", &partition.to_string());
        line("state.size", size.word());
        line("state.if-damaged", if_damaged.word());
        for path in persist {
            line("state.persist", path);
        }
        for path in exec {
            line("state.exec", path);
        }
        if let Some(Seed { when, wait_seconds }) = seed {
            line("state.seed", &format!("{when} {wait_seconds}"));
        }
    }
    line("clock-not-before", &plan.clock_not_before.to_string());
    for Relaxed { what, reason } in &plan.relaxed {
        line("relax", &format!("{what} {reason}"));
    }
    for hardening in &plan.hardening {
        line("harden", hardening.word());
    }
    line("on-failure", plan.on_failure.word());
    line("init.path", &plan.init.path);
    for argument in &plan.init.arguments {
        line("init.argument", argument);
    }
    for (name, value) in &plan.init.environment {
        line("init.environment", &format!("{name}={value}"));
    }
    text
}

/// A verified file system's lines: those of its own, and those of its tree.
fn verified(line: &mut impl FnMut(&str, &str), own: &str, tree: &str, image: &Verified) {
    let Verified { file_system, options, signature_partition, verity } = image;
    line(&format!("{own}.file-system"), file_system);
    line(&format!("{own}.options"), options);
    line(&format!("{own}.signature-partition"), &signature_partition.to_string());
    let mut line = |key: &str, value: &str| line(&format!("{tree}.{key}"), value);
    line("algorithm", verity.algorithm.word());
    line("data-block-size", &verity.data_block_size.to_string());
    line("hash-block-size", &verity.hash_block_size.to_string());
    line("data-blocks", &verity.data_blocks.to_string());
    line("hash-start", &verity.hash_start.to_string());
    line("salt", &hex::encode(&verity.salt));
    line("superblock-uuid", &verity.superblock_uuid.to_string());
    line("on-corruption", verity.on_corruption.word());
    if let Some(Fec { roots, blocks, start, partition }) = &verity.fec {
        let partition = partition.map_or("hash".to_owned(), |uuid| uuid.to_string());
        line("fec", &format!("{roots} {blocks} {start} {partition}"));
    }
}

/// What the keys of a volume begin with.
fn volume_keys(name: &str) -> String {
    format!("volume.{name}")
}

pub(super) fn parse(text: &str) -> Result<Plan, PlanError> {
    let mut lines = Lines::split(text)?;
    lines.one(
        "graven-plan",
        "the format 1: this stage0 and the builder are of different versions",
        |value| (value == FORMAT).then_some(()),
    )?;
    let plan = Plan {
        image: lines.one("image", "a name", |value| printable(value).then(|| value.to_owned()))?,
        policy: PolicyIdentity {
            name: lines.one("policy.name", "1 to 255 of A-Z a-z 0-9 . _ -", policy_name)?,
            version: lines.one("policy.version", "A.B.C, each 0 to 65535", parsed)?,
        },
        compiled_in_policy: lines.optional("compiled-in-policy", "NAME VERSION", |value| {
            let (name, version) = value.split_once(' ')?;
            Some(PolicyIdentity { name: policy_name(name)?, version: parsed(version)? })
        })?,
        successor: lines.optional("policy.successor", "an absolute path without blanks", |value| {
            (absolute(value) && word(value)).then(|| value.to_owned())
        })?,
        enforcement: lines.one("policy.enforcement", "enforce or audit", Enforcement::from_word)?,
        secure_boot: lines.one("secure-boot", "required or not-required", SecureBoot::from_word)?,
        kernel_lockdown: lines.one(
            "kernel-lockdown",
            "none, integrity or confidentiality",
            KernelLockdown::from_word,
        )?,
        security_modules: lines.set("security-module", "a security module's name", |value| {
            plain(value, "_-").then(|| value.to_owned())
        })?,
        additions: lines.additions()?,
        module_parameters: lines.list(
            "module-parameter",
            "MODULE NAME=VALUE",
            module_parameter,
            |a, b| (&a.module, &a.name) == (&b.module, &b.name),
        )?,
        wait_seconds: lines.one("wait-seconds", "1 to 3600", |value| {
            number::<u32>(value).filter(|seconds| (1..=3600).contains(seconds))
        })?,
        root: lines.verified("root", "verity")?,
        volumes: lines.volumes()?,
        mounts: lines.list(
            "mount",
            "SOURCE TARGET TYPE OPTIONS fail|volatile empty|image",
            mount,
            |a, b| a.target == b.target,
        )?,
        state: lines.state()?,
        clock_not_before: lines.one("clock-not-before", "seconds since 1970", number)?,
        relaxed: lines
            .list("relax", "the name of a relaxation and a reason", relaxed, |a, b| a.what == b.what)?,
        hardening: lines.set("harden", "exec-securebits or modules-disabled", Hardening::from_word)?,
        on_failure: lines.one("on-failure", "reboot, poweroff or halt", OnFailure::from_word)?,
        init: Init {
            path: lines
                .one("init.path", "an absolute path", |value| absolute(value).then(|| value.to_owned()))?,
            arguments: lines.list(
                "init.argument",
                "an argument",
                |value| Some(value.to_owned()),
                |_, _| false,
            )?,
            environment: lines.list(
                "init.environment",
                "NAME=VALUE",
                |value| {
                    let (name, value) = value.split_once('=')?;
                    plain(name, "_").then(|| (name.to_owned(), value.to_owned()))
                },
                |a, b| a.0 == b.0,
            )?,
        },
    };
    lines.nothing_left()?;
    Ok(plan)
}

/// The lines that nobody has taken yet.
struct Lines<'a> {
    lines: Vec<Line<'a>>,
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    key: &'a str,
    value: &'a str,
}

impl Line<'_> {
    fn error(&self, problem: Problem) -> PlanError {
        PlanError { line: Some(self.number), key: self.key.to_owned(), problem }
    }
}

impl<'a> Lines<'a> {
    fn split(text: &'a str) -> Result<Self, PlanError> {
        let broken = |number: usize, line: &str| PlanError {
            line: Some(number),
            key: line.chars().take(40).collect(),
            problem: Problem::NoLine,
        };
        let mut lines = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let number = index.saturating_add(1);
            let whole = line.strip_suffix('\n').filter(|line| !line.contains('\0'));
            let (key, value) =
                whole.and_then(|line| line.split_once('=')).ok_or_else(|| broken(number, line))?;
            lines.push(Line { number, key, value });
        }
        Ok(Lines { lines })
    }

    fn take(&mut self, key: &str) -> Vec<Line<'a>> {
        let (taken, left) = self.lines.iter().partition(|line| line.key == key);
        self.lines = left;
        taken
    }

    /// A key that may be missing, but not there twice.
    fn optional<T>(
        &mut self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, PlanError> {
        match *self.take(key).as_slice() {
            [] => Ok(None),
            [line] => one_value(&line, expected, read).map(Some),
            [first, second, ..] => Err(second.error(Problem::Twice(first.number))),
        }
    }

    /// A key that is there once.
    fn one<T>(
        &mut self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, PlanError> {
        self.optional(key, expected, read)?.ok_or_else(|| PlanError {
            line: None,
            key: key.to_owned(),
            problem: Problem::Missing,
        })
    }

    /// A key that repeats; no two entries may be `same`.
    fn list<T>(
        &mut self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<Vec<T>, PlanError> {
        let mut entries: Vec<T> = Vec::new();
        let lines = self.take(key);
        for line in &lines {
            let entry = one_value(line, expected, &read)?;
            let earlier = entries.iter().position(|other| same(other, &entry));
            if let Some(first) = earlier.and_then(|index| lines.get(index)) {
                return Err(line.error(Problem::Twice(first.number)));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn set<T: PartialEq>(
        &mut self,
        key: &str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, PlanError> {
        self.list(key, expected, read, |a, b| a == b)
    }

    /// Those before first, as they are rendered when the builder keeps them sorted.
    fn additions(&mut self) -> Result<Vec<Addition>, PlanError> {
        let bytes = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let before = self.set("command-line.before", "the bytes added", bytes)?;
        let after = self.set("command-line.after", "the bytes added", bytes)?;
        let before = before.into_iter().map(Addition::Before);
        Ok(before.chain(after.into_iter().map(Addition::After)).collect())
    }

    fn verified(&mut self, own: &str, tree: &str) -> Result<Verified, PlanError> {
        Ok(Verified {
            file_system: self.one(&format!("{own}.file-system"), "a file system's name", file_system)?,
            options: self.one(&format!("{own}.options"), "mount options without blanks", |value| {
                (value.is_empty() || word(value)).then(|| value.to_owned())
            })?,
            signature_partition: self.one(&format!("{own}.signature-partition"), "a UUID", parsed)?,
            verity: self.verity(tree)?,
        })
    }

    fn verity(&mut self, tree: &str) -> Result<Verity, PlanError> {
        const BLOCK_SIZE: &str = "a power of two from 512 to 524288";
        let block_size = |value: &str| {
            number::<u32>(value).filter(|size| size.is_power_of_two() && (512..=524_288).contains(size))
        };
        let key = |name: &str| format!("{tree}.{name}");
        let verity = Verity {
            algorithm: self.one(&key("algorithm"), "sha256, sha384 or sha512", Algorithm::from_word)?,
            data_block_size: self.one(&key("data-block-size"), BLOCK_SIZE, block_size)?,
            hash_block_size: self.one(&key("hash-block-size"), BLOCK_SIZE, block_size)?,
            data_blocks: self.one(&key("data-blocks"), "a number from 1", |value| {
                number(value).filter(|blocks| *blocks > 0)
            })?,
            hash_start: self.one(&key("hash-start"), "a number from 1", |value| {
                number(value).filter(|start| *start > 0)
            })?,
            salt: self.one(&key("salt"), "0 to 256 bytes in lower-case hexadecimal digits", |value| {
                hex::decode(value).filter(|salt| salt.len() <= 256)
            })?,
            superblock_uuid: self.one(&key("superblock-uuid"), "a UUID", parsed)?,
            on_corruption: self.one(
                &key("on-corruption"),
                "error, restart or panic",
                OnCorruption::from_word,
            )?,
            fec: self.optional(&key("fec"), "ROOTS(2-24) BLOCKS START hash|PARTUUID", fec)?,
        };
        if verity.data_bytes().is_none() || verity.hash_bytes().is_none() {
            let found = verity.data_blocks.to_string();
            let problem = Problem::Value { expected: "a device that a tree can cover", found };
            return Err(PlanError { line: None, key: key("data-blocks"), problem });
        }
        Ok(verity)
    }

    /// Each with keys that begin with its name.
    fn volumes(&mut self) -> Result<Vec<Volume>, PlanError> {
        let listed = self.list("volume", "NAME TARGET exec|noexec ROOTHASH", volume, |a, b| {
            a.0 == b.0 || a.1 == b.1 || a.3 == b.3
        })?;
        let whole = |(name, target, programs, root_hash): (String, String, Programs, RootHash)| {
            let own = volume_keys(&name);
            let image = self.verified(&own, &format!("{own}.verity"))?;
            Ok(Volume { name, target, programs, root_hash, image })
        };
        listed.into_iter().map(whole).collect()
    }

    /// The partition's key decides whether there is a state at all.
    fn state(&mut self) -> Result<Option<State>, PlanError> {
        let Some(partition) = self.optional("state.partition", "a UUID", parsed)? else { return Ok(None) };
        let path = "an absolute path without blanks and colons";
        Ok(Some(State {
            partition,
            size: self.one("state.size", "fixed or grow", StateSize::from_word)?,
            if_damaged: self.one("state.if-damaged", "reset, volatile or fail", IfDamaged::from_word)?,
            persist: self
                .set("state.persist", path, |value| State::can_persist(value).then(|| value.to_owned()))?,
            exec: self
                .set("state.exec", path, |value| State::can_persist(value).then(|| value.to_owned()))?,
            seed: self.optional("state.seed", "first-boot|always SECONDS(0-300)", seed)?,
        }))
    }

    fn nothing_left(self) -> Result<(), PlanError> {
        self.lines.first().map_or(Ok(()), |line| Err(line.error(Problem::Unknown)))
    }
}

fn one_value<T>(
    line: &Line<'_>,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, PlanError> {
    let wrong = || line.error(Problem::Value { expected, found: line.value.chars().take(80).collect() });
    read(line.value).ok_or_else(wrong)
}

fn policy_name(value: &str) -> Option<String> {
    let good = plain(value, "._-") && value.len() <= 255 && value != "." && value != "..";
    good.then(|| value.to_owned())
}

fn module_parameter(value: &str) -> Option<ModuleParameter> {
    let (module, assignment) = value.split_once(' ')?;
    let (name, value) = assignment.split_once('=')?;
    // A quote or blank would be parsed by the kernel as more than one parameter.
    let good = plain(module, "_") && plain(name, "_") && word(value) && !value.contains('"');
    good.then(|| ModuleParameter {
        module: module.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

fn mount(value: &str) -> Option<Mount> {
    let [source, target, kind, options, on_damage, contents] =
        *value.split(' ').collect::<Vec<_>>().as_slice()
    else {
        return None;
    };
    Some(Mount {
        source: match source {
            "none" => MountSource::None,
            uuid => MountSource::Partition(parsed(uuid)?),
        },
        target: mount_point(target)?,
        file_system: file_system(kind)?,
        options: match options {
            "-" => String::new(),
            options => Some(options).filter(|options| word(options))?.to_owned(),
        },
        on_damage: OnDamage::from_word(on_damage)?,
        contents: Contents::from_word(contents)?,
    })
}

fn volume(value: &str) -> Option<(String, String, Programs, RootHash)> {
    let [name, target, programs, root_hash] = *value.split(' ').collect::<Vec<_>>().as_slice() else {
        return None;
    };
    let name = Some(name).filter(|name| Volume::can_be_named(name))?.to_owned();
    let programs = Programs::from_word(programs)?;
    Some((name, mount_point(target)?, programs, RootHash::from_hex(root_hash).ok()?))
}

/// A folder of the root that something can be mounted on.
fn mount_point(value: &str) -> Option<String> {
    (absolute(value) && word(value) && value != "/").then(|| value.to_owned())
}

fn seed(value: &str) -> Option<Seed> {
    let (when, seconds) = value.split_once(' ')?;
    let wait_seconds = number::<u32>(seconds).filter(|seconds| *seconds <= 300)?;
    Some(Seed { when: SeedTime::from_word(when)?, wait_seconds })
}

fn relaxed(value: &str) -> Option<Relaxed> {
    let (what, reason) = value.split_once(' ')?;
    let reason = Some(reason).filter(|reason| printable(reason))?.to_owned();
    Some(Relaxed { what: Relaxation::from_word(what)?, reason })
}

fn fec(value: &str) -> Option<Fec> {
    let [roots, blocks, start, partition] = *value.split(' ').collect::<Vec<_>>().as_slice() else {
        return None;
    };
    Some(Fec {
        roots: number::<u8>(roots).filter(|roots| (2..=24).contains(roots))?,
        blocks: number(blocks)?,
        start: number(start)?,
        partition: match partition {
            "hash" => None,
            uuid => Some(parsed(uuid)?),
        },
    })
}

fn file_system(value: &str) -> Option<String> {
    plain(value, "_-.").then(|| value.to_owned())
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

/// A decimal number in its one spelling.
fn number<T: FromStr + ToString>(value: &str) -> Option<T> {
    value.parse::<T>().ok().filter(|number| number.to_string() == value)
}

/// ASCII letters, digits and some other characters; not empty.
fn plain(value: &str, others: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Not empty, no blanks, no control characters.
pub(super) fn word(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Not empty, no blanks at the ends, no control characters.
fn printable(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && !value.contains(char::is_control)
}

/// An absolute path without empty, `.` or `..` components.
pub(super) fn absolute(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('/') else { return false };
    !value.contains(char::is_control) && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
