//! Certificate authorities: what `update-ca-certificates` makes of the certificates that are there.

mod subject;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_image::tree::TreePath;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::world::World;

const SHIPPED: &str = "/usr/share/ca-certificates";
const LOCAL: &str = "/usr/local/share/ca-certificates";
const CONFIGURATION: &str = "/etc/ca-certificates.conf";
const TRUSTED: &str = "/etc/ssl/certs";

impl World<'_> {
    /// The bundle, a link for each certificate, and the links by subject that OpenSSL looks for.
    pub(crate) fn write_certificates(&mut self) -> Result<(), Error> {
        let shipped = self.certificates_below(SHIPPED, "");
        let list = match self.text(CONFIGURATION)? {
            Some(list) => list,
            None => {
                let list: String = shipped.iter().map(|name| format!("{name}\n")).collect();
                self.write(CONFIGURATION, list.clone(), 0o644)?;
                list
            }
        };
        let chosen =
            list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
        let mut paths: Vec<String> = chosen.map(|name| format!("{SHIPPED}/{name}")).collect();
        paths.extend(self.certificates_below(LOCAL, "").into_iter().map(|name| format!("{LOCAL}/{name}")));

        let mut bundle = String::new();
        let mut links: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
        for path in paths {
            let Some(text) = self.text(&path)? else {
                return Err(Error::Certificate {
                    path,
                    why: "it is listed in /etc/ca-certificates.conf, and not there",
                });
            };
            bundle.push_str(&text);
            if !text.ends_with('\n') {
                bundle.push('\n');
            }
            let stem = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".crt");
            let name = stem.replace([' ', ','], "_").replace(['(', ')'], "=");
            let der =
                der(&text).ok_or(Error::Certificate { path: path.clone(), why: "no block CERTIFICATE" })?;
            links.insert(format!("{name}.pem"), (path, der));
        }
        self.write(&format!("{TRUSTED}/ca-certificates.crt"), bundle, 0o644)?;
        let mut by_subject: BTreeMap<u32, Vec<[u8; 32]>> = BTreeMap::new();
        for (name, (path, der)) in links {
            self.link(&format!("{TRUSTED}/{name}"), &path)?;
            let hash = subject::hash(&der)
                .ok_or(Error::Certificate { path: path.clone(), why: "its subject cannot be read" })?;
            let seen = by_subject.entry(hash).or_default();
            let fingerprint: [u8; 32] = Sha256::digest(&der).into();
            if !seen.contains(&fingerprint) {
                self.link(&format!("{TRUSTED}/{hash:08x}.{}", seen.len()), &name)?;
                seen.push(fingerprint);
            }
        }
        Ok(())
    }

    /// Names of `.crt` files below a folder, in byte order.
    fn certificates_below(&self, top: &str, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        for name in self.names(&format!("{top}/{below}")) {
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            let is_folder = TreePath::parse(format!("{top}/{name}").as_bytes())
                .and_then(|path| self.tree.resolve(&path))
                .is_ok_and(|id| matches!(self.tree.inode(id).kind, graven_image::tree::Kind::Directory(_)));
            if is_folder {
                found.extend(self.certificates_below(top, &name));
            } else if name.ends_with(".crt") {
                found.push(name);
            }
        }
        found.sort();
        found
    }
}

/// The first certificate of a PEM text.
fn der(text: &str) -> Option<Vec<u8>> {
    let (_, after) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = after.split_once("-----END CERTIFICATE-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}
