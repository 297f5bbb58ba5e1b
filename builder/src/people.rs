//! The recipe's users: their keys are read and looked at before anything is built.

use graven_finish::Person;
use graven_recipe::{LocalPath, User};
use graven_verify::manifest::Input;

use crate::error::{Error, Result};
use crate::inputs::file_input;

/// First words of the lines that sshd takes for keys.
const KINDS: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
];

/// A user with its keys, and the files that they are in.
pub(crate) fn person(name: &str, user: &User) -> Result<(Person, Vec<Input>)> {
    let mut keys = String::new();
    let mut inputs = Vec::new();
    for file in &user.ssh_keys {
        keys.push_str(&public_keys(name, file)?);
        inputs.push(file_input("ssh-key", &file.path)?);
    }
    let person = Person {
        name: name.to_owned(),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        home: user.home.clone(),
        shell: user.shell.clone(),
        comment: user.comment.clone(),
        ssh_keys: keys,
    };
    Ok((person, inputs))
}

/// The keys of a file, one a line; comments and empty lines are left out.
fn public_keys(name: &str, file: &LocalPath) -> Result<String> {
    let stop = |what: &str| {
        Err(Error::Limit(format!("{}: users.{name}: {} {what}", file.place, file.path.display())))
    };
    let text = std::fs::read_to_string(&file.path).map_err(|error| Error::io(&file.path, error))?;
    if text.contains("PRIVATE KEY") {
        return stop("is a private key; an image holds the public half, most often NAME.pub");
    }
    let mut keys = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if !line.split_whitespace().any(|word| KINDS.contains(&word)) {
            return stop("has a line that is no public SSH key");
        }
        keys.push_str(line);
        keys.push('\n');
    }
    match keys.is_empty() {
        true => stop("has no key"),
        false => Ok(keys),
    }
}
