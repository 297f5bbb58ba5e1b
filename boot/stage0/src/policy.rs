//! Step 5: the IPE policy; and at the end of step 6 the one that may take its place.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use graven_handoff::{
    Binding, Code, Enforcement, Plan, PolicyIdentity, PolicySource, PolicyVersion, RootHash, hex, initramfs,
};
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::failure::{Failure, OrFail};
use crate::log;
use crate::root::{self, ROOT};

const IPE: &str = "/sys/kernel/security/ipe";

/// Loads the policy, activates it, and reads back that it is in force, the only one, and what it should be.
pub(crate) fn enforce(plan: &Plan, source: &PolicySource) -> Result<(), Failure> {
    let message = message(source)?;
    load(&message)?;
    let folder = Path::new(IPE).join("policies").join(&plan.policy.name);
    if !folder.is_dir() {
        let detail = format!("{} is not there after loading: the policy has another name", folder.display());
        return Err(Failure::new(Code::PolicyReadBack, detail));
    }
    activate(&folder)?;
    if let Some(compiled_in) = &plan.compiled_in_policy {
        remove(compiled_in)?;
    }
    only_ours(&plan.policy)?;
    same(&folder, &plan.policy, &message)?;
    enforcement(plan.enforcement)
}

/// The signed policy: the command line's own, or the initramfs's if it has the digest that the command line names.
fn message(source: &PolicySource) -> Result<Cow<'_, [u8]>, Failure> {
    let expected = match source {
        PolicySource::Inline(message) => return Ok(message.into()),
        PolicySource::Sha256(expected) => expected,
    };
    let message = std::fs::read(initramfs::POLICY).or_fail(Code::PolicyBlob, initramfs::POLICY)?;
    let found: [u8; 32] = Sha256::digest(&message).into();
    if found != *expected {
        let detail = format!("expected sha256 {}, found {}", hex::encode(expected), hex::encode(&found));
        return Err(Failure::new(Code::PolicyDigest, detail));
    }
    Ok(message.into())
}

fn load(message: &[u8]) -> Result<(), Failure> {
    put(&Path::new(IPE).join("new_policy"), message, Code::PolicyLoad, Code::PolicyRefused)
}

/// One write: the kernel takes each for a whole policy. `refused` is the code for a signature that it does not accept.
fn put(node: &Path, message: &[u8], code: Code, refused: Code) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).open(node).or_fail(code, node.display())?;
    match file.write(message) {
        Ok(written) if written == message.len() => Ok(()),
        Ok(written) => Err(Failure::new(code, format!("{written} of {} bytes were taken", message.len()))),
        Err(error) => {
            let code = match Errno::from_io_error(&error) {
                Some(Errno::NOKEY | Errno::KEYREJECTED | Errno::NOPKG) => refused,
                _ => code,
            };
            Err(Failure::new(
                code,
                match Errno::from_io_error(&error) {
                    Some(Errno::STALE) => {
                        "ESTALE: its version is not above that of the policy in force".into()
                    }
                    Some(Errno::INVAL) => {
                        "EINVAL: it has another name, or a number in it is malformed".into()
                    }
                    _ => explain(&error),
                },
            ))
        }
    }
}

/// What the kernel means by refusing something signed.
pub(crate) fn explain(error: &io::Error) -> String {
    let reason = match Errno::from_io_error(error) {
        Some(Errno::NOKEY) => "ENOKEY: no trusted certificate matches the signer",
        Some(Errno::KEYREJECTED) => "EKEYREJECTED: the signature is wrong, or its key is not acceptable",
        Some(Errno::NOPKG) => {
            "ENOPKG: the kernel has no such algorithm (RSA must be signed as rsaEncryption)"
        }
        Some(Errno::BADMSG) => "EBADMSG: the message or the text in it is malformed",
        Some(Errno::EXIST) => "EEXIST: a policy of this name is already loaded",
        Some(Errno::MSGSIZE) => "EMSGSIZE: more than 65,535 bytes",
        Some(Errno::NODEV) => "ENODEV: no such device",
        Some(Errno::TOOBIG) => "E2BIG: a partition is too small for the table",
        _ => return error.to_string(),
    };
    reason.to_owned()
}

fn activate(folder: &Path) -> Result<(), Failure> {
    set(&folder.join("active"), Code::PolicyActivate)
}

fn set(path: &Path, code: Code) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).open(path).or_fail(code, path.display())?;
    file.write_all(b"1").or_fail(code, path.display())
}

/// Puts a signed policy of the state into the place of the image's, where there is one: with the same name and a higher
/// version, which the kernel sees to, and for this root, or nothing would run. Whoever writes to the state can take it away
/// or lay any other bytes there, so what is refused is said, and the image's policy stays.
pub(crate) fn succeed(plan: &Plan, binding: &Binding) -> Result<(), Failure> {
    let Some(path) = &plan.successor else { return Ok(()) };
    let folder = Path::new(IPE).join("policies").join(&plan.policy.name);
    let update = || -> Result<Option<Vec<u8>>, Failure> {
        let Some(message) = candidate(path, &binding.root_hash)? else { return Ok(None) };
        put(&folder.join("update"), &message, Code::Successor, Code::Successor)?;
        Ok(Some(message))
    };
    let message = match update() {
        Ok(Some(message)) => message,
        Ok(None) => return Ok(()),
        Err(failure) => {
            failure.warn("the image's own policy stays in force");
            return Ok(());
        }
    };
    let read = |node: &str| std::fs::read(folder.join(node)).or_fail(Code::PolicyReadBack, node);
    let version = String::from_utf8_lossy(&read("version")?).into_owned();
    let new: PolicyVersion = version.parse().or_fail(Code::PolicyReadBack, "version")?;
    if new <= plan.policy.version {
        let detail = format!("a successor of version {}, found {new}", plan.policy.version);
        return Err(Failure::new(Code::PolicyReadBack, detail));
    }
    let successor = PolicyIdentity { name: plan.policy.name.clone(), version: new };
    same(&folder, &successor, &message)?;
    only_ours(&successor)?;
    log::note(&format!("policy {} {new} from {path} is in force", successor.name));
    root::lets_run(&plan.init.path)
}

/// The bytes at this path of the root, no symbolic link followed; `None` where there are none.
fn candidate(path: &str, root_hash: &RootHash) -> Result<Option<Vec<u8>>, Failure> {
    /// The kernel takes 65,535 bytes.
    const MOST: u64 = 65_536;
    let root = open(ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = root.or_fail(Code::Successor, ROOT)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // Not waiting: it could be a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(Failure::new(Code::Successor, format!("{path}: {error}"))),
    };
    if !file.metadata().or_fail(Code::Successor, path)?.is_file() {
        return Err(Failure::new(Code::Successor, format!("{path} is no file")));
    }
    let mut message = Vec::new();
    file.take(MOST).read_to_end(&mut message).or_fail(Code::Successor, path)?;
    // Once it is in force there is no way back. This is what makes one for another image harmless.
    let own = format!("dmverity_roothash=sha256:{root_hash}");
    match message.windows(own.len()).any(|window| window == own.as_bytes()) {
        true => Ok(Some(message)),
        false => Err(Failure::new(Code::Successor, format!("{path} does not name this root: {own}"))),
    }
}

/// The policy compiled into the kernel was in force until now. Left there, root could one day activate it again.
fn remove(policy: &PolicyIdentity) -> Result<(), Failure> {
    let folder = Path::new(IPE).join("policies").join(&policy.name);
    let version = policy.version.to_string();
    let expected: [(&str, &[u8]); 3] =
        [("name", policy.name.as_bytes()), ("version", version.as_bytes()), ("active", b"0")];
    for (node, expected) in expected {
        hold(&folder.join(node), expected, Code::CompiledInPolicy)?;
    }
    set(&folder.join("delete"), Code::CompiledInPolicy)?;
    match folder.exists() {
        true => Err(Failure::new(Code::CompiledInPolicy, format!("{} is still there", folder.display()))),
        false => Ok(()),
    }
}

fn only_ours(policy: &PolicyIdentity) -> Result<(), Failure> {
    let path = Path::new(IPE).join("policies");
    let mut others = Vec::new();
    for entry in std::fs::read_dir(&path).or_fail(Code::PolicyOthers, path.display())? {
        let name = entry.or_fail(Code::PolicyOthers, path.display())?.file_name();
        if name != policy.name.as_str() {
            others.push(name.to_string_lossy().into_owned());
        }
    }
    if others.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(
            Code::PolicyOthers,
            format!("expected only {}, found {}", policy.name, others.join(", ")),
        ))
    }
}

fn same(folder: &Path, policy: &PolicyIdentity, message: &[u8]) -> Result<(), Failure> {
    let version = policy.version.to_string();
    let expected: [(&str, &[u8]); 4] = [
        ("name", policy.name.as_bytes()),
        ("version", version.as_bytes()),
        ("active", b"1"),
        ("pkcs7", message),
    ];
    expected
        .into_iter()
        .try_for_each(|(node, expected)| hold(&folder.join(node), expected, Code::PolicyReadBack))
}

/// What the kernel says in one of a policy's files.
fn hold(path: &Path, expected: &[u8], code: Code) -> Result<(), Failure> {
    let found = std::fs::read(path).or_fail(code, path.display())?;
    if found == expected {
        return Ok(());
    }
    // The signed policy is no text, and longer than a line of the log.
    let shown = |bytes: &[u8]| {
        bytes.iter().take(40).flat_map(|b| b.escape_ascii()).map(char::from).collect::<String>()
    };
    let detail = format!("{}: expected {}, found {}", path.display(), shown(expected), shown(&found));
    Err(Failure::new(code, detail))
}

fn enforcement(expected: Enforcement) -> Result<(), Failure> {
    let path = Path::new(IPE).join("enforce");
    let found = std::fs::read_to_string(&path).or_fail(Code::Enforce, path.display())?;
    let wanted = match expected {
        Enforcement::Enforce => "1",
        Enforcement::Audit => "0",
    };
    if found.trim() != wanted {
        return Err(Failure::new(
            Code::Enforce,
            format!("enforce: expected {wanted}, found {}", found.trim()),
        ));
    }
    if expected == Enforcement::Audit {
        log::warning("this image is permissive: the policy is not enforced");
    }
    Ok(())
}
