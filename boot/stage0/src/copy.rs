//! Copies of what the verified root has, made where only stage0 has been.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;

/// Copies a file, a link or a folder with all that is below it: contents, owners, modes and times. Of folders and files
/// for which `bare` holds, only themselves.
pub(crate) fn whole(from: &Path, to: &Path, bare: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return lchown(to, Some(metadata.uid()), Some(metadata.gid()));
    }
    if metadata.is_dir() {
        fs::create_dir(to)?;
        return below(from, to, bare);
    }
    if !metadata.is_file() {
        return Err(io::Error::other(format!("{}: neither file, folder nor link", from.display())));
    }
    let mut copy = File::create_new(to)?;
    if !bare(from) {
        io::copy(&mut File::open(from)?, &mut copy)?;
    }
    like(&metadata, to)
}

/// Copies what a folder has, and its own owner, mode and time, into one that is there.
pub(crate) fn below(from: &Path, to: &Path, bare: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    if !bare(from) {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            whole(&from.join(&name), &to.join(&name), bare)?;
        }
    }
    like(&from.metadata()?, to)
}

/// Owner first: changing it takes bits of the mode away.
fn like(metadata: &fs::Metadata, to: &Path) -> io::Result<()> {
    chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, metadata.permissions())?;
    File::open(to)?.set_times(FileTimes::new().set_modified(metadata.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tree_comes_out_as_it_was() {
        let base = std::env::temp_dir().join(format!("graven-copy-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("log/deep")).unwrap();
        fs::write(from.join("log/a"), "a").unwrap();
        fs::write(from.join("b"), "b").unwrap();
        symlink("../nowhere", from.join("l")).unwrap();
        fs::set_permissions(from.join("b"), fs::Permissions::from_mode(0o1640)).unwrap();
        fs::set_permissions(from.join("log"), fs::Permissions::from_mode(0o2750)).unwrap();
        let bare = from.join("log");
        whole(&from, &to, &|path| path == bare).unwrap();

        let mode = |path: &Path| path.symlink_metadata().unwrap().mode() & 0o7777;
        assert_eq!(fs::read_to_string(to.join("b")).unwrap(), "b");
        assert_eq!((mode(&to.join("b")), mode(&to.join("log"))), (0o1640, 0o2750));
        assert_eq!(fs::read_link(to.join("l")).unwrap(), Path::new("../nowhere"));
        assert_eq!(fs::read_dir(to.join("log")).unwrap().count(), 0, "only itself");
        let time = |path: &Path| path.metadata().unwrap().modified().unwrap();
        assert_eq!(time(&to.join("b")), time(&from.join("b")));
        assert_eq!(time(&to), time(&from));
        assert!(whole(&from.join("b"), &to.join("b"), &|_| false).is_err(), "nothing is overwritten");
        fs::remove_dir_all(base).unwrap();
    }
}
