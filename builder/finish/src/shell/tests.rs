//! What is followed, and what is not.

use graven_image::tree::{Inode, Kind, Metadata, Tree, TreePath};

use super::{Unknown, run};
use crate::accounts::{Accounts, Ids};
use crate::units::Scope;
use crate::world::World;

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    for (path, text) in files {
        let path = TreePath::parse(path.as_bytes()).unwrap();
        tree.write_file(&path, *text, Metadata { mode: 0o755, ..Metadata::default() }, None).unwrap();
    }
    tree
}

/// Follows a `postinst configure`, then asks.
fn follow<T>(files: &[(&str, &str)], script: &str, ask: impl Fn(&World<'_>) -> T) -> Result<T, Unknown> {
    let mut tree = tree(files);
    let mut world = World::new(&mut tree, Accounts::default(), 86400);
    world.accounts = Accounts::read(&world, &Ids::default()).unwrap();
    run(script, &["configure"], &mut world)?;
    Ok(ask(&world))
}

fn text(world: &World<'_>) -> Option<String> {
    world.text("/out").unwrap()
}

/// What a script leaves in `/out`, held against what a real shell would.
fn out(script: &str) -> String {
    follow(&[], script, text).unwrap_or_else(|unknown| panic!("{unknown:?}")).unwrap_or_default()
}

/// What stops a script.
fn unknown(script: &str) -> (usize, String) {
    let Unknown { line, what } = follow(&[], script, |_| ()).unwrap_err();
    (line, what)
}

#[test]
fn words_are_split_joined_and_expanded_as_a_shell_does() {
    for (script, expected) in [
        ("x='a  b'; for i in $x; do echo \"<$i>\" >>/out; done", "<a>\n<b>\n"),
        ("x='a  b'; for i in \"$x\"; do echo \"<$i>\" >>/out; done", "<a  b>\n"),
        ("f() { for i in \"$@\"; do echo \"$i/$#\" >>/out; done; }; f 'a b' c", "a b/2\nc/2\n"),
        ("echo \"${2:-none}${1:+some}$3\" >/out", "nonesome\n"),
        ("a=1\nb=$a'2'\"3\"\\4; echo $b >/out", "1234\n"),
        ("echo a\\\n  b # c\n echo 'a # b' >/out", "a # b\n"),
        ("cat >/out <<-EOF\n\tone\n\ttwo\n\tEOF\n", "one\ntwo\n"),
        ("case \"$1\" in (install|con*) echo yes >/out;; *) echo no >/out;; esac", "yes\n"),
        ("case '*' in \\*) echo star >/out;; esac", "star\n"),
        ("[ \"$1\" = configure ] && [ -z \"$2\" ] && echo fresh >/out", "fresh\n"),
        (
            "if [ -n \"$2\" ]; then x=1; elif ! test -e /out -o -e /x; then x=2; else x=3; fi; echo $x >/out",
            "2\n",
        ),
        ("f() { return 1; }; f || echo failed >/out", "failed\n"),
        ("for i in a b c; do [ $i != b ] || continue; echo $i >>/out; done", "a\nc\n"),
        ("for i in $(seq 2 -1 0); do echo $i >>/out; done", "2\n1\n0\n"),
        (
            "dpkg --compare-versions \"$2\" lt 1 && echo lt >>/out; dpkg --compare-versions \"$2\" lt-nl 1 || echo nl >>/out",
            "lt\nnl\n",
        ),
        ("echo a >/out; exit 0; echo b >/out", "a\n"),
    ] {
        assert_eq!(out(script), expected, "{script}");
    }
}

#[test]
fn a_real_shell_agrees() {
    // The same scripts, with a file that both can write to.
    for script in [
        "x='a  b'; for i in $x\"c\" d; do echo \"<$i>\" >>OUT; done",
        "f() { echo \"$1-$#\" >>OUT; shift; echo \"$*\" >>OUT; }; f 'a b' c d",
        "case abc in a?c) echo 1 >OUT;; esac; case 'a*' in 'a*') echo 2 >>OUT;; esac",
        "y=; echo \"[${y:-}]${y:+x}\" >OUT; y=1; echo \"[${y:-2}]${y:+x}\" >>OUT",
        "if test a = b -o ! -n '' -a c = c; then echo yes >OUT; else echo no >OUT; fi",
        "cat >OUT <<'X'\n$a `b` \\c\nX\n",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        let real = script.replace("OUT", file.to_str().unwrap());
        let status = std::process::Command::new("sh").args(["-c", &real]).status().unwrap();
        assert!(status.success());
        assert_eq!(out(&script.replace("OUT", "/out")), std::fs::read_to_string(file).unwrap(), "{script}");
    }
}

#[test]
fn what_is_beyond_stops_where_it_is_reached() {
    for (script, line, what) in [
        ("set -e\ncat /etc/passwd | grep x\n", 2, "a pipeline"),
        ("curl https://example.org\n", 1, "the command `curl https://example.org`"),
        ("x=$(hostname)\n", 1, "what `$(hostname)` answers"),
        ("\n\nwhile true; do :; done\n", 3, "a loop"),
        ("sleep 1 &\n", 1, "the command `sleep 1`"),
        ("eval \"$x\"\n", 1, "the command `eval `"),
        ("( cd / )\n", 1, "a shell of its own"),
        ("exit 1\n", 1, "the script would fail here"),
        ("chown nobody-here /\n", 1, "`chown nobody-here /`, and no such user or group is known by then"),
        ("f() { f; }; f\n", 1, "functions that call each other without end"),
        ("echo 'open\n", 2, "a quote without an end"),
        ("if true; then\n", 1, "`fi` is missing"),
        ("adduser admin\n", 1, "`adduser admin`"),
        ("echo x > ../out\n", 1, "`../out` is no path inside the tree: it has a `..` component"),
    ] {
        assert_eq!(unknown(script), (line, what.to_owned()), "{script}");
    }
    // Not reached on a first installation.
    assert_eq!(
        out("if [ -n \"$2\" ]; then curl x | sh; fi; [ ! -d /run/systemd/system ] || curl x; echo >/out"),
        "\n"
    );
}

#[test]
fn files_users_and_units_are_what_the_script_says() {
    let files = [("/usr/share/x/default", "text"), ("/usr/bin/tool", ""), ("/var/lib/x/file", "")];
    let script = "adduser --system --group --home /var/lib/x --no-create-home _x\n\
                  chown _x:_x /var/lib/x/file\nchmod 2750 /var/lib/x/file\n\
                  [ -e /etc/x.conf ] || cp -p /usr/share/x/default /etc/x.conf\n\
                  ln -sf ../x.conf /etc/x.d\nmkdir -p -m 700 /etc/secret\ntouch /run/gone\n\
                  update-alternatives --install /usr/bin/t t /usr/bin/tool 5\n\
                  if deb-systemd-helper --quiet was-enabled 'x.service'; then deb-systemd-helper enable 'x.service'; fi\n\
                  if deb-systemd-helper debian-installed y.service; then deb-systemd-helper enable y.service; fi";
    follow(&files, script, |world| {
        let user = world.accounts.user("_x").unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (100, 100, "/var/lib/x"));
        let Inode { metadata, .. } = world.find("/var/lib/x/file").unwrap();
        assert_eq!((metadata.uid, metadata.gid, metadata.mode), (100, 100, 0o2750));
        assert_eq!(world.text("/etc/x.conf").unwrap().unwrap(), "text");
        assert_eq!(world.link_target("/etc/x.d").unwrap(), "../x.conf");
        assert_eq!(world.find("/etc/secret").unwrap().metadata.mode, 0o700);
        assert!(!world.has("/run/gone"));
        assert_eq!(world.alternatives.len(), 1);
        assert_eq!(world.units.preset, [(Scope::System, "x.service".to_owned())]);
    })
    .unwrap();
}

#[test]
fn a_script_never_leaves_the_tree() {
    let mut tree = tree(&[]);
    let link = Inode::new(Metadata::default(), Kind::Symlink(b"../../../tmp".as_slice().into()));
    tree.insert(&TreePath::parse(b"/up").unwrap(), link).unwrap();
    let mut world = World::new(&mut tree, Accounts::default(), 0);
    assert!(
        run("echo x > /up/escaped", &["configure"], &mut world).is_err(),
        "it leads to /tmp of the tree, which is not there"
    );
    let folder = Inode::new(Metadata::default(), Kind::directory());
    world.tree.insert(&TreePath::parse(b"/tmp").unwrap(), folder).unwrap();
    run("echo x > /up/escaped", &["configure"], &mut world).unwrap();
    assert_eq!(world.text("/tmp/escaped").unwrap().unwrap(), "x\n");
    assert!(!std::path::Path::new("/tmp/escaped").exists());
}
