//! The trust report: whole, the same for the same image, and of nothing but itself, whatever is in the image.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use graven_tests::forge::{Forgery, Part};
use graven_tests::{image, inputs, program};

/// Names that would do something, were they taken for more than text.
const HOSTILE: [&str; 4] = [
    "<img src=x onerror=alert(1)>.sh",
    "\"><script>alert(2)<!--.sh",
    "'&amp;&#60;b&#62;.sh",
    "\u{202e}hs.txt.sh",
];

/// `recipes/minimal` with those files.
fn hostile() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let make = |folder: &Path| {
        fs::create_dir_all(folder).expect("the folder takes folders");
        let inherited = inputs::project().join("recipes/minimal/recipe.toml");
        let mut recipe = format!("inherit = [{inherited:?}]\n[files]\n");
        for name in HOSTILE {
            let path = serde_json::to_string(&format!("/usr/share/{name}")).expect("it is text");
            recipe += &format!("{path} = {{ text = \"#!/bin/sh\\n\", mode = 0o755 }}\n");
        }
        fs::write(folder.join("recipe.toml"), recipe).expect("the folder takes files");
        image::build(folder, &folder.join("out"), &[]);
    };
    IMAGE.get_or_init(|| image::shared("hostile", make).join("out"))
}

fn report(image: &Path, words: &[&str]) -> String {
    let folder = image::folder();
    let page = folder.path().join("report.html");
    let all = ["inspect", image.to_str().expect("it is text"), "--html", "report.html"];
    let said = program::run_in(folder.path(), image::graven(), [&all[..], words].concat());
    assert_eq!((said.status, said.out.as_str()), (0, ""), "{}", said.err);
    fs::read_to_string(page).expect("it was written")
}

fn certificate() -> String {
    image::keys().join("db.crt").display().to_string()
}

#[test]
fn the_page_is_whole_and_needs_nothing_besides() {
    let page = report(hostile(), &["--trust", &certificate()]);
    for part in [
        "<html lang=\"en\">",
        "Proved: all ",
        "id=\"chain\"",
        "id=\"disk\"",
        "id=\"policy\"",
        "id=\"files\"",
        "id=\"scripts\"",
        "id=\"certificates\"",
        "id=\"findings\"",
        "id=\"innards\"",
        "<svg class=\"chain\"",
        "<svg class=\"disk\"",
        "DEFAULT action=DENY",
        "CN=Tests db",
        "/usr/bin/busybox",
        "prefers-color-scheme: dark",
        "@media print",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    let outside = [
        "<script",
        "<img",
        "<link",
        "<iframe",
        "<object",
        "src=",
        "javascript:",
        "@import",
        "://",
        "onerror=\"",
    ];
    let text = page.replace("&lt;img src=x", "").replace("onerror=alert", "");
    for part in outside {
        assert!(!text.contains(part), "the page has {part}");
    }
    let links = page.match_indices("href=\"").filter(|(at, _)| !page[at + 6..].starts_with('#'));
    assert_eq!(links.count(), 0, "links lead into the page alone");
    let from_styles = page.match_indices("url(").filter(|(at, _)| !page[at + 4..].starts_with('#'));
    assert_eq!(from_styles.count(), 0, "styles and pictures take nothing from elsewhere");
}

#[test]
fn names_from_the_image_are_text() {
    let page = report(hostile(), &["--trust", &certificate()]);
    for (name, shown) in HOSTILE.iter().zip([
        "&lt;img src=x onerror=alert(1)&gt;.sh",
        "&quot;&gt;&lt;script&gt;alert(2)&lt;!--.sh",
        "'&amp;amp;&amp;#60;b&amp;#62;.sh",
        "\u{202e}hs.txt.sh",
    ]) {
        assert!(page.contains(shown), "{name} is told as {shown}");
    }
    assert!(!page.contains("<img") && !page.contains("<b&"), "and not as what it says");
}

#[test]
fn the_same_image_makes_the_same_page() {
    let page = report(hostile(), &["--trust", &certificate()]);
    let elsewhere = image::folder();
    for file in ["disk.img", "manifest.json"] {
        fs::copy(hostile().join(file), elsewhere.path().join(file)).expect("it can be copied");
    }
    assert_eq!(report(elsewhere.path(), &["--trust", &certificate()]), page);
}

#[test]
fn it_says_what_is_open_and_what_is_broken() {
    let open = report(hostile(), &[]);
    assert!(open.contains("Not proved: ") && open.contains("no certificate was given to hold it against"));
    assert!(!open.contains("Broken: "), "what nobody vouches for is open");

    let stranger = image::strangers_keys().join("db.crt").display().to_string();
    let other = report(hostile(), &["--trust", &stranger]);
    assert!(other.contains("Broken: ") && other.contains("the image, which proves nothing by it"));

    let broken = report(broken().path(), &["--trust", &certificate()]);
    assert!(broken.contains("Broken: ") && broken.contains("Do not rely on this image."));
}

/// The image with a byte of its root changed.
fn broken() -> Forgery {
    let forgery = Forgery::of(hostile());
    let place = forgery.place(Part::Root);
    // The last block has contents of a file.
    let at = place.start + place.len - 4096;
    let disk =
        fs::File::options().read(true).write(true).open(forgery.path()).expect("the copy can be opened");
    let mut byte = [0];
    disk.read_exact_at(&mut byte, at).expect("it can be read");
    disk.write_all_at(&[byte[0] ^ 1], at).expect("it can be written");
    forgery
}

#[test]
fn what_cannot_be_written_is_said() {
    let image = hostile().to_str().expect("it is text");
    let folder = image::folder();
    let certificate = certificate();
    for (words, status) in [
        (&[image, "--html", "nowhere/report.html"][..], 3),
        (&[image, "--html", "report.html", "--json"], 2),
        (&[image, "--trust", &certificate], 2),
        (&[image, "--html", "report.html", "--trust", "nowhere.crt"], 3),
        (&["nowhere.img", "--html", "report.html"], 3),
    ] {
        let said = program::run_in(folder.path(), image::graven(), [&["inspect"], words].concat());
        assert_eq!(said.status, status, "{words:?}: {}", said.err);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "{words:?} left something");
    }
}

/// In a browser, at the widths of a desk and of a hand, by day and by night: nothing sticks out, nothing is asked for, and
/// axe finds nothing that keeps anyone from reading it.
#[cfg(feature = "full")]
#[test]
fn it_can_be_read_by_everyone_in_a_browser() {
    use graven_tests::oracle;

    let folder = image::folder();
    let pages = [
        ("proved.html", report(hostile(), &["--trust", &certificate()])),
        ("open.html", report(hostile(), &[])),
        ("broken.html", report(broken().path(), &["--trust", &certificate()])),
    ];
    let mut words = vec![inputs::project().join("tests/src/oracle/browser.py")];
    for (name, page) in &pages {
        fs::write(folder.path().join(name), page).expect("the folder takes files");
        words.push(folder.path().join(name));
    }
    let said = oracle::content(oracle::python("python3"), words);
    let views: Vec<serde_json::Value> =
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(views.len(), 4 * pages.len(), "{said}");
    for view in views {
        assert_eq!(view["told"], serde_json::json!([]), "{view:#}");
        assert!(view["passes"].as_u64().is_some_and(|passes| passes > 10), "axe looked: {view:#}");
    }
}
