//! What speaks against a U-Boot, and what cannot be told of it.

use crate::fdt::Tree;
use crate::kernel::Config;
use crate::refusal::Refusal;
use crate::x509::Certificate;

use super::control::{BootConfig, judge_keys};
use super::environment;
use super::inspect::Open;
use super::locate::Program;
use super::signs::{FORBIDDEN, SAVES_ENVIRONMENT, SHELL, VERIFIES};

/// Every name that a refusal of a U-Boot has, in alphabetical order.
pub const NAMES: [&str; 20] = [
    "android-images",
    "bootargs-set",
    "boots-from-any-medium",
    "boots-unsigned",
    "control-tree-from-outside",
    "efi-loader",
    "environment-stored",
    "fit-signature-off",
    "fit-verity",
    "images-from-outside",
    "key-foreign",
    "key-not-required",
    "key-unusable",
    "legacy-images",
    "prompt",
    "required-mode-any",
    "scripts",
    "second-key",
    "shell-after-failure",
    "u-boot-not-found",
];

/// Refusals and open questions as they are found.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    refusals: Vec<Refusal>,
    open: Vec<Open>,
}

impl Judgement {
    pub(super) fn refuse(&mut self, name: &'static str, why: impl Into<String>, remedy: &str) {
        let refusal = Refusal { name, why: why.into(), remedy: remedy.to_owned() };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    fn leave_open(&mut self, name: &'static str, why: impl Into<String>) {
        let open = Open { name, why: why.into() };
        if !self.open.contains(&open) {
            self.open.push(open);
        }
    }

    /// All of them; what is refused of one U-Boot is not left open of another.
    pub(super) fn finish(mut self) -> (Vec<Refusal>, Vec<Open>) {
        self.open.retain(|open| !self.refusals.iter().any(|refusal| refusal.name == open.name));
        self.refusals.sort_by_key(|refusal| refusal.name);
        self.open.sort_by_key(|open| open.name);
        (self.refusals, self.open)
    }
}

/// Judges one U-Boot.
pub(super) fn judge(program: &Program, signer: Option<&Certificate>, found: &mut Judgement) {
    let boot = judge_trees(program, signer, found);
    for one in &FORBIDDEN {
        let shown = || one.texts.iter().copied().find(|text| shows(program, text));
        match &program.config {
            Some(config) => {
                let on: Vec<String> = one
                    .symbols
                    .iter()
                    .filter(|symbol| config.is_on(symbol))
                    .map(|symbol| format!("CONFIG_{symbol}=y"))
                    .collect();
                if !on.is_empty() {
                    found.refuse(one.name, format!("{} ({})", one.why, on.join(", ")), one.remedy);
                }
            }
            None => match shown() {
                Some(text) => {
                    found.refuse(
                        one.name,
                        format!("{} (it has the text «{}»)", one.why, text.trim()),
                        one.remedy,
                    );
                }
                None => found.leave_open(one.name, NO_SIGN),
            },
        }
    }
    let environment = environment::compiled_in(&program.bytes);
    judge_verification(program, found);
    judge_bootargs(program.config.as_ref(), &environment, &boot, found);
    judge_environment(program, found);
    for boot in &boot {
        judge_prompt(program, &environment, boot, found);
        judge_shell(program, &environment, boot, found);
    }
}

const NO_SIGN: &str =
    "the program shows no sign of it, and does not carry its configuration (CONFIG_CMD_CONFIG)";

/// The control device trees, and what they say of booting; without one, that nothing is said.
fn judge_trees(program: &Program, signer: Option<&Certificate>, found: &mut Judgement) -> Vec<BootConfig> {
    const OWN_TREE: &str =
        "build it with CONFIG_OF_SEPARATE and give the file that has its device tree behind it";
    let from_outside = ["OF_BOARD", "OF_EMBED", "OF_PASSAGE"];
    let config = program.config.as_ref();
    if let Some(symbol) =
        from_outside.iter().find(|symbol| config.is_some_and(|config| config.is_built_in(symbol)))
    {
        let why = format!(
            "the control device tree, and the keys in it, come from elsewhere or are for development only \
             (CONFIG_{symbol}=y)"
        );
        found.refuse("control-tree-from-outside", why, OWN_TREE);
    }
    let mut boot = Vec::new();
    for (place, bytes) in &program.trees {
        // They were parsed when they were found.
        let Ok(tree) = Tree::parse(bytes) else { continue };
        judge_keys(place, &tree, signer, found);
        boot.push(BootConfig::of(&tree));
    }
    if boot.is_empty() {
        let why =
            "there is no control device tree with it: whoever starts it says which keys it requires, if any";
        found.refuse("control-tree-from-outside", why, OWN_TREE);
        boot.push(BootConfig::default());
    }
    boot
}

fn judge_verification(program: &Program, found: &mut Judgement) {
    const REMEDY: &str = "build it with CONFIG_FIT_SIGNATURE, CONFIG_RSA and CONFIG_RSA_VERIFY";
    let missing: Vec<&str> = match &program.config {
        Some(config) => {
            let needed = ["FIT", "FIT_SIGNATURE", "RSA", "RSA_VERIFY"];
            needed.into_iter().filter(|symbol| !config.is_built_in(symbol)).collect()
        }
        // Without it, the program would have nothing to say where a signature is missing.
        None if shows(program, VERIFIES) => Vec::new(),
        None => vec!["FIT_SIGNATURE"],
    };
    if !missing.is_empty() {
        let why =
            format!("it verifies no signatures of FITs (not set: CONFIG_{})", missing.join(", CONFIG_"));
        found.refuse("fit-signature-off", why, REMEDY);
    }
}

/// Whether anything compiled in puts a `bootargs` over the signed one.
fn judge_bootargs(
    config: Option<&Config>,
    environment: &[(String, String)],
    boot: &[BootConfig],
    found: &mut Judgement,
) {
    const NAME: &str = "bootargs-set";
    const REMEDY: &str = "build it without CONFIG_USE_BOOTARGS, CONFIG_BOOTARGS_SUBST and CONFIG_USE_PREBOOT, with a bootcmd that \
                          sets nothing";
    let symbols = ["USE_BOOTARGS", "BOOTARGS_SUBST", "USE_PREBOOT"];
    if let Some(symbol) = symbols.iter().find(|symbol| config.is_some_and(|config| config.is_on(symbol))) {
        let why = format!("it puts a line of its own over the signed one, or can (CONFIG_{symbol}=y)");
        found.refuse(NAME, why, REMEDY);
    }
    if let Some((name, value)) =
        environment.iter().find(|(name, _)| ["bootargs", "preboot"].contains(&name.as_str()))
    {
        let why = format!("its environment has {name}={}", shortened(value));
        found.refuse(NAME, why, REMEDY);
    }
    let commands = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let own = boot.iter().filter_map(|boot| Some(("/config/bootcmd", boot.command.as_deref()?)));
    if let Some((name, value)) = commands.chain(own).find(|(_, value)| sets_bootargs(value)) {
        let why = format!("{name} sets bootargs, which no signature covers: {}", shortened(value));
        found.refuse(NAME, why, REMEDY);
    }
    if config.is_none() && environment.is_empty() {
        found.leave_open(NAME, "the environment compiled in is not found, nor the configuration");
    }
}

fn sets_bootargs(command: &str) -> bool {
    let words: Vec<&str> = command.split([' ', ';', '\t', '\n']).filter(|word| !word.is_empty()).collect();
    let set = |pair: &[&str]| {
        matches!(pair, ["setenv" | "set", "bootargs"] | ["edit" | "editenv" | "askenv", "bootargs"])
    };
    words.windows(2).any(set) || words.iter().any(|word| word.starts_with("bootargs="))
}

/// Whether an environment is read from a medium, or written to one.
fn judge_environment(program: &Program, found: &mut Judgement) {
    const NAME: &str = "environment-stored";
    const REMEDY: &str = "build it with CONFIG_ENV_IS_NOWHERE alone, or with CONFIG_ENV_WRITEABLE_LIST and \
                          CONFIG_ENV_ACCESS_IGNORE_FORCE, and without CONFIG_CMD_SAVEENV";
    let why = |what: &str| format!("whoever writes the medium sets bootargs and bootcmd ({what})");
    let Some(config) = &program.config else {
        match shows(program, SAVES_ENVIRONMENT) {
            true => found.refuse(NAME, why(&format!("it has the text «{SAVES_ENVIRONMENT}»")), REMEDY),
            false => found.leave_open(NAME, NO_SIGN),
        }
        return;
    };
    let listed = config.is_on("ENV_WRITEABLE_LIST") && config.is_on("ENV_ACCESS_IGNORE_FORCE");
    let stored = config.symbols().find(|symbol| symbol.starts_with("ENV_IS_IN_") && config.is_on(symbol));
    if let Some(symbol) = stored.filter(|_| !listed) {
        found.refuse(NAME, why(&format!("CONFIG_{symbol}=y")), REMEDY);
    }
    let saving = ["CMD_SAVEENV", "CMD_IMPORTENV"];
    if let Some(symbol) = saving.iter().find(|symbol| config.is_on(symbol)) {
        found.refuse(NAME, why(&format!("CONFIG_{symbol}=y")), REMEDY);
    }
}

/// Whether a key pressed in time stops the boot.
fn judge_prompt(
    program: &Program,
    environment: &[(String, String)],
    boot: &BootConfig,
    found: &mut Judgement,
) {
    const NAME: &str = "prompt";
    const REMEDY: &str =
        "build it with CONFIG_BOOTDELAY=-2, or put bootdelay = <-2> into /config of its control device tree";
    if boot.secure && boot.command.is_some() {
        return;
    }
    let config = program.config.as_ref();
    if let Some(config) = config {
        let locked = ["AUTOBOOT_KEYED", "AUTOBOOT_ENCRYPTION"].iter().all(|symbol| config.is_on(symbol))
            && !config.text("AUTOBOOT_STOP_STR_CRYPT").is_empty()
            && !config.is_on("AUTOBOOT_KEYED_CTRLC");
        if locked || !config.is_on("CMDLINE") {
            return;
        }
        if !config.is_on("AUTOBOOT") {
            return found.refuse(NAME, "it boots nothing by itself (CONFIG_AUTOBOOT is not set)", REMEDY);
        }
    }
    let stated = environment::value(environment, "bootdelay").map(|delay| (delay, "its environment"));
    let configured = config.map(|config| (config.text("BOOTDELAY"), "its configuration"));
    let (delay, by) = match (boot.delay, stated.or(configured)) {
        (Some(delay), _) => (Some(delay), "/config/bootdelay"),
        (None, Some((delay, by))) => (delay.parse().ok(), by),
        (None, None) => {
            return found.leave_open(NAME, "neither bootdelay nor a configuration is found in it");
        }
    };
    const AT_ONCE: i32 = -2;
    if delay != Some(AT_ONCE) {
        let delay = delay.map_or("no number".to_owned(), |delay| delay.to_string());
        found.refuse(
            NAME,
            format!("a key pressed in time stops the boot: bootdelay is {delay} by {by}"),
            REMEDY,
        );
    }
}

/// Where U-Boot goes when what it boots does not.
fn judge_shell(
    program: &Program,
    environment: &[(String, String)],
    boot: &BootConfig,
    found: &mut Judgement,
) {
    const NAME: &str = "shell-after-failure";
    const REMEDY: &str = "let bootcmd end in reset, hang or poweroff, put bootsecure = <1> and a bootcmd into /config of the \
                          control device tree, or build it without CONFIG_CMDLINE";
    if program.config.as_ref().is_some_and(|config| !config.is_on("CMDLINE"))
        || boot.secure && boot.command.is_some()
    {
        return;
    }
    let command = boot.command.as_deref().or_else(|| environment::value(environment, "bootcmd"));
    match command {
        Some(command) => {
            let last = command.trim_end_matches([' ', ';']).rsplit(';').next().unwrap_or_default().trim();
            if !["reset", "hang", "poweroff"].contains(&last) {
                let why = format!("a boot that fails ends in its shell: bootcmd is {}", shortened(command));
                found.refuse(NAME, why, REMEDY);
            }
        }
        None if program.config.is_some() || SHELL.iter().any(|text| shows(program, text)) => {
            found.refuse(NAME, "it has a shell, and no bootcmd that keeps it from it is found", REMEDY);
        }
        None => found.leave_open(NAME, NO_SIGN),
    }
}

/// Whether the program holds this text.
fn shows(program: &Program, text: &str) -> bool {
    let (bytes, text) = (&program.bytes, text.as_bytes());
    let first = text.first();
    let starts = bytes.iter().enumerate().filter(|(_, byte)| Some(*byte) == first);
    starts.into_iter().any(|(offset, _)| bytes.get(offset..).is_some_and(|rest| rest.starts_with(text)))
}

/// Text of the firmware for a line of a report.
fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().count() > MOST { format!("«{shown}…»") } else { format!("«{shown}»") }
}
