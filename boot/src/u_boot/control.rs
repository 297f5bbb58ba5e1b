//! The control device tree: the key that it requires, and what it says of booting.

use crate::fdt::{Node, Tree};
use crate::fit::control::read_key;
use crate::x509::Certificate;

use super::judge::Judgement;

/// What a control device tree says about booting; it outranks environment and configuration.
#[derive(Debug, Default)]
pub(super) struct BootConfig {
    /// `/config/bootdelay`
    pub(super) delay: Option<i32>,
    /// `/config/bootcmd`
    pub(super) command: Option<String>,
    /// `/config/bootsecure`: the command is called without the shell, and may not come back.
    pub(super) secure: bool,
}

impl BootConfig {
    pub(super) fn of(tree: &Tree<'_>) -> Self {
        let Some(node) = tree.node("/config") else { return Self::default() };
        let cell = |name| node.number(name).and_then(|number| u32::try_from(number).ok());
        Self {
            delay: cell("bootdelay").map(u32::cast_signed),
            command: node.text("bootcmd").map(str::to_owned),
            secure: cell("bootsecure").unwrap_or_default() != 0,
        }
    }
}

/// Holds the keys of a control device tree against the FIT's signer. `fit_config_verify_required_keys` of U-Boot goes
/// through the nodes of `/signature`, and where none is required it checks nothing.
pub(super) fn judge_keys(place: &str, tree: &Tree<'_>, signer: Option<&Certificate>, found: &mut Judgement) {
    const ONE_KEY: &str =
        "put the FIT's key into it, and no other: graven fit key --into u-boot.dtb, or mkimage -K -r";
    let signature = tree.node("/signature");
    let nodes = signature.map(Node::children).unwrap_or_default();
    let required: Vec<_> = nodes.iter().filter(|node| node.text("required") == Some("conf")).collect();
    if required.is_empty() {
        let what = match nodes.is_empty() {
            true => "has no key".to_owned(),
            false => format!("has {} with required = \"conf\" in none", names(nodes)),
        };
        let why =
            format!("the control device tree ({place}) {what}: U-Boot would start any FIT, signed or not");
        found.refuse("key-not-required", why, ONE_KEY);
    }
    if nodes.len() > 1 {
        let why =
            format!("the control device tree ({place}) has {}: each can vouch for what boots", names(nodes));
        found.refuse("second-key", why, ONE_KEY);
    }
    match signature.and_then(|node| node.text("required-mode")) {
        None | Some("all") => {}
        Some(mode) => {
            let why = format!(
                "the control device tree ({place}) has required-mode \"{}\": one signature by any of its keys is enough",
                mode.escape_debug()
            );
            found.refuse("required-mode-any", why, "take required-mode out of /signature");
        }
    }
    for node in required {
        let named = node.name().escape_debug().to_string();
        let key = match read_key(node) {
            Ok(key) => key,
            Err(error) => {
                let why = format!("the control device tree ({place}): {error}");
                found.refuse("key-unusable", why, ONE_KEY);
                continue;
            }
        };
        if let Some(signer) = signer.filter(|signer| *signer.public_key() != key.key) {
            let why = format!(
                "the control device tree ({place}) requires {named}, which is not the FIT's key: that is «{}» (sha256:{})",
                signer.subject(),
                signer.fingerprint()
            );
            found.refuse("key-foreign", why, ONE_KEY);
        }
        let algorithm = node.text("algo").unwrap_or_default();
        if crate::fit::SignatureAlgorithm::named(algorithm, None).is_none() {
            let why = format!(
                "the control device tree ({place}): {named} has the algorithm «{}», expected sha256, sha384 or sha512 with \
                 rsa2048, rsa3072 or rsa4096",
                algorithm.escape_debug()
            );
            found.refuse("key-unusable", why, ONE_KEY);
        }
    }
}

fn names(nodes: &[Node<'_>]) -> String {
    const MOST: usize = 4;
    let names = nodes.iter().take(MOST).map(|node| node.name().escape_debug().to_string());
    let names = names.collect::<Vec<_>>().join(", ");
    match nodes.len() {
        1 => format!("a key ({names})"),
        count if count > MOST => format!("{count} keys ({names}, …)"),
        count => format!("{count} keys ({names})"),
    }
}
