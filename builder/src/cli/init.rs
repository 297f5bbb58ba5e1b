//! `graven init`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use super::{Outcome, Status, print};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven init my-server && cp ~/.ssh/id_ed25519.pub my-server/keys/admin.pub\n\n\
    What is written is recipes/edge-server of Graven's source: systemd, a firewall, SSH, a page over HTTP."
)]
pub(crate) struct Arguments {
    /// The folder to make; one that is there must be empty.
    dir: PathBuf,
}

/// The shipped recipe, file by file.
const FILES: [(&str, &str); 9] = [
    ("recipe.toml", include_str!("../../../recipes/edge-server/recipe.toml")),
    ("README.md", include_str!("../../../recipes/edge-server/README.md")),
    ("files/lighttpd.conf", include_str!("../../../recipes/edge-server/files/lighttpd.conf")),
    ("files/modules.conf", include_str!("../../../recipes/edge-server/files/modules.conf")),
    ("files/nftables.conf", include_str!("../../../recipes/edge-server/files/nftables.conf")),
    ("files/sshd.conf", include_str!("../../../recipes/edge-server/files/sshd.conf")),
    ("files/wired.network", include_str!("../../../recipes/edge-server/files/wired.network")),
    ("keys/.gitignore", include_str!("../../../recipes/edge-server/keys/.gitignore")),
    ("www/index.html", include_str!("../../../recipes/edge-server/www/index.html")),
];

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let dir = &arguments.dir;
    let failed = || format!("making {}", dir.display());
    fs::create_dir_all(dir).with_context(failed).map_err(Status::Environment.because())?;
    let mut entries = fs::read_dir(dir).with_context(failed).map_err(Status::Environment.because())?;
    if entries.next().is_some() {
        return Err(Status::Usage.because()(anyhow!(
            "{}: there is something in it already; name a new folder or an empty one",
            dir.display()
        )));
    }
    for (name, text) in FILES {
        // The recipe's README speaks of its place in Graven's source.
        let text = text.replace("recipes/edge-server", ".");
        let path = dir.join(name);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(&path, text)
        };
        write().with_context(|| path.display().to_string()).map_err(Status::Environment.because())?;
    }
    print(&format!(
        "{0}/recipe.toml: a server with a firewall, SSH and a page over HTTP; {0}/README.md says what to change\n\
         next: your public SSH key into {0}/keys/admin.pub, then graven build {0} --target qemu-x86_64\n",
        dir.display()
    ))?;
    Ok(Status::Good)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The path of every file below a folder.
    fn files(folder: &Path, top: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let below = |path: std::path::PathBuf| match path.is_dir() {
            true => files(&path, top),
            false => vec![path.strip_prefix(top).unwrap().to_str().unwrap().to_owned()],
        };
        entries.flat_map(below).collect()
    }

    #[test]
    fn the_whole_recipe_is_written_and_nothing_else() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes/edge-server");
        let mut shipped = files(&shipped, &shipped);
        // What whoever builds it there makes, and how that is done in one command.
        shipped.retain(|name| !["graven.lock", "keys/admin.pub", "build.sh"].contains(&&**name));
        shipped.sort();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        assert!(run(&Arguments { dir: dir.clone() }).is_ok());
        let mut written = files(&dir, &dir);
        written.sort();
        assert_eq!(written, shipped);
    }

    #[test]
    fn a_folder_that_holds_something_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        assert!(run(&Arguments { dir: folder.path().to_owned() }).is_err());
        assert_eq!(files(folder.path(), folder.path()), ["mine"]);
    }
}
