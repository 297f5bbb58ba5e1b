//! Archives of layouts.

use graven_sources::oci::{Layout, Platform, Which, read};
use graven_sources::{Limits, Spool};

use super::maker::{File, Maker, listed};

#[test]
fn an_archive_of_a_layout_gives_what_the_folder_gives_however_it_is_compressed() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("layout");
    let mut maker = Maker::default();
    let layers = vec![maker.layer(&[File("x", "1")], ""), maker.layer(&[File("y", "2")], "zstd")];
    let image = maker.image(layers, "amd64");
    maker.layout(&folder, &[image]);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", &folder).unwrap();
    let plain = builder.into_inner().unwrap();
    let packed = zstd::encode_all(&*plain, 1).unwrap();
    for bytes in [plain, packed] {
        let file = work.path().join("image.tar");
        std::fs::write(&file, &bytes).unwrap();
        let spool = Spool::new(work.path()).unwrap();
        let layout = Layout::archive(&file, None, &spool, &Limits::default()).unwrap();
        let (top, said) = layout.find(&Which::Only).unwrap();
        let platform = Platform::linux("amd64");
        let image =
            read("image", &layout, &top, said.as_deref(), &platform, &spool, &Limits::default()).unwrap();
        assert_eq!(listed(image.layer), ["/x: 1", "/y: 2"]);
        let sha256 = layout.sha256().unwrap();
        Layout::archive(&file, Some(&sha256), &spool, &Limits::default()).unwrap();
        let other = [0; 32].into();
        let error = Layout::archive(&file, Some(&other), &spool, &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("its SHA-256 is"), "{error}");
    }
}
