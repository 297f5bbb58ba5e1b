//! Which modules are carried, and in what order, over modules made by the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use graven_boot::compression::Compression;
use graven_boot::kernel::Builtin;
use graven_boot::modules::{ModInfo, ModuleFiles, ModulesError, Wanted, closure, trim};
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};

struct Made(BTreeMap<String, Vec<u8>>);

impl ModuleFiles for Made {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::other("not there"))
    }
}

fn module(records: &[&str], compression: Compression) -> Vec<u8> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = elf.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    elf.append_section_data(
        section,
        records.iter().map(|r| format!("{r}\0")).collect::<String>().as_bytes(),
        1,
    );
    compression.compress(&elf.write().unwrap()).unwrap()
}

/// The tree of Debian 7.3.4's verity modules, one compressed each way, and what must not be read.
fn made() -> Made {
    let mut files = BTreeMap::new();
    let mut put = |path: &str, bytes| files.insert(path.to_owned(), bytes);
    let verity = ["license=GPL", "depends=dm-mod,dm-bufio,reed_solomon", "name=dm_verity"];
    put("kernel/drivers/md/dm-verity.ko.xz", module(&verity, Compression::Xz));
    put("kernel/drivers/md/dm-bufio.ko.zst", module(&["depends=dm-mod"], Compression::Zstd));
    put("kernel/drivers/md/dm-mod.ko.gz", module(&["depends="], Compression::Gzip));
    put("kernel/lib/reed_solomon/reed_solomon.ko", module(&["depends="], Compression::None));
    let soft = ["depends=", "softdep=pre: first absent post: last dm-verity"];
    put("kernel/a/soft.ko", module(&soft, Compression::None));
    put("kernel/a/first.ko", module(&["softdep=pre: soft"], Compression::None));
    put("kernel/a/last.ko", module(&["depends="], Compression::None));
    put("kernel/a/one.ko", module(&["depends=two"], Compression::None));
    put("kernel/a/two.ko", module(&["depends=one"], Compression::None));
    put("kernel/a/wants.ko", module(&["depends=gone-away"], Compression::None));
    put("kernel/a/damaged.ko.xz", b"\xfd7zXZ\0 damaged".to_vec());
    put("modules.order", Vec::new());
    Made(files)
}

fn builtin() -> Builtin {
    Builtin::parse("kernel/fs/erofs/erofs.ko\nkernel/drivers/virtio-pci.ko\n", b"")
}

fn order(wanted: &[Wanted]) -> Vec<String> {
    closure(&made(), &builtin(), wanted).unwrap().into_iter().map(|m| m.name).collect()
}

#[test]
fn dependencies_come_first_and_built_in_ones_not_at_all() {
    let wanted = [
        Wanted::required("dm_verity", "root"),
        Wanted::required("erofs", "root"),
        Wanted::required("virtio_pci", "target"),
        Wanted::required("dm-mod", "root"),
        Wanted::optional("nvme", "target"),
    ];
    assert_eq!(order(&wanted), ["dm_mod", "dm_bufio", "reed_solomon", "dm_verity"]);
    let modules = closure(&made(), &builtin(), &wanted).unwrap();
    assert_eq!(modules[3].file_name(), "dm-verity.ko.xz");
    assert_eq!(modules[3].bytes, made().0["kernel/drivers/md/dm-verity.ko.xz"]);
    let paths = trim(&made(), &builtin(), &wanted[..1]).unwrap();
    assert_eq!(paths.len(), 4);
}

#[test]
fn soft_dependencies_are_taken_where_they_are_there_and_circles_of_them_end() {
    let names = order(&[Wanted::required("soft", "recipe")]);
    assert_eq!(names, ["first", "soft", "last", "dm_mod", "dm_bufio", "reed_solomon", "dm_verity"]);
}

#[test]
fn a_missing_module_is_an_error_that_says_who_wants_it() {
    let error = |name| closure(&made(), &builtin(), &[Wanted::required(name, "target x")]).unwrap_err();
    assert!(error("nvme").to_string().contains("'nvme', which target x needs"), "{}", error("nvme"));
    assert!(
        error("wants").to_string().contains("'gone_away', which module wants needs"),
        "{}",
        error("wants")
    );
    assert!(matches!(error("one"), ModulesError::Circle(_)));
    assert!(matches!(error("damaged"), ModulesError::ModInfo { .. }));
}

#[test]
fn what_is_no_module_is_an_error() {
    for bytes in [&b""[..], b"\x7fELF", b"\x7fELF\x02", b"\x7fELF\x01\x01\x01", &[0; 500]] {
        assert!(ModInfo::read(bytes).is_err());
    }
    let whole = module(&["name=x"], Compression::None);
    for cut in 0..whole.len() {
        let _ = ModInfo::read(&whole[..cut]);
    }
}
