//! Our index of a trimmed modules folder against depmod's.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use graven_boot::kernel::Builtin;
use graven_boot::modules::{Folder, Index, Wanted, closure};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// A module that exports and uses these symbols.
fn module(records: &[&str], exports: &[&str], uses: &[&str]) -> Vec<u8> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let strings = |texts: &[&str]| texts.iter().map(|t| format!("{t}\0")).collect::<String>();
    for (name, texts) in [(".modinfo", records), ("__ksymtab_strings", exports)] {
        let section = elf.add_section(Vec::new(), name.into(), SectionKind::ReadOnlyData);
        elf.append_section_data(section, strings(texts).as_bytes(), 1);
    }
    for name in uses {
        elf.add_symbol(Symbol {
            name: (*name).into(),
            value: 0,
            size: 0,
            kind: SymbolKind::Unknown,
            scope: SymbolScope::Unknown,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
    }
    elf.write().unwrap()
}

#[test]
fn every_file_is_depmods_to_the_byte() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("lib/modules/7.3.4");
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let dm = ["name=dm_mod", "depends=", "alias=devname:mapper/control", "alias=char-major-10-236"];
    put("kernel/drivers/md/dm-mod.ko", &module(&dm, &["dm_get", "dm_put"], &[]));
    put("kernel/drivers/md/dm-bufio.ko", &module(&["depends=dm-mod"], &["dm_bufio_read"], &["dm_get"]));
    let verity =
        ["depends=dm-bufio,dm-mod", "softdep=pre: sha256", "alias=fs-x-[a-f]-y", "alias=pci:v00001AF4d*"];
    put("kernel/drivers/md/dm-verity.ko", &module(&verity, &[], &["dm_bufio_read", "dm_put"]));
    let virtio = ["depends=", "alias=virtio:d00000002v*", "alias=pci:v00001AF4d*", "alias=pci:v0000"];
    put("kernel/drivers/block/virtio_blk.ko", &module(&virtio, &[], &[]));
    // Carried by the package, not by the root.
    let order = "kernel/fs/ext4/ext4.ko\nkernel/drivers/block/virtio_blk.ko\nkernel/drivers/md/dm-verity.ko\n\
                 kernel/drivers/md/dm-bufio.ko\nkernel/drivers/md/dm-mod.ko\n";
    let builtin = "kernel/fs/erofs/erofs.ko\nkernel/crypto/sha256.ko\n";
    let modinfo =
        b"sha256.alias=crypto-sha256\0sha256.alias=sha256\0erofs.license=GPL\0erofs.alias=fs-erofs\0";
    put("modules.order", order.as_bytes());
    put("modules.builtin", builtin.as_bytes());
    put("modules.builtin.modinfo", modinfo);

    let wanted = [Wanted::required("dm_verity", "test"), Wanted::required("virtio-blk", "test")];
    let files = Folder::open(&folder).unwrap();
    let modules = closure(&files, &Builtin::parse(builtin, modinfo), &wanted).unwrap();
    let ours = Index { modules: &modules, order, builtin, builtin_modinfo: modinfo }.files();

    let output = Command::new("/sbin/depmod").arg("-b").arg(parent.path()).arg("7.3.4").output();
    let output = output.unwrap_or_else(|e| panic!("depmod (package kmod) is needed by this test: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in &ours {
        let theirs = std::fs::read(Path::new(&folder).join(file.name)).unwrap();
        let lines = |bytes: &[u8]| {
            let mut lines: Vec<_> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
            lines.sort();
            lines
        };
        if file.name == "modules.symbols" {
            // depmod's order is that of its hash table.
            assert_eq!(lines(&file.contents), lines(&theirs));
        } else {
            assert_eq!(
                file.contents.escape_ascii().to_string(),
                theirs.escape_ascii().to_string(),
                "{}",
                file.name
            );
        }
    }
}
