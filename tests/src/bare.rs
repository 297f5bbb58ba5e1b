//! A disk that boots Debian's kernel with a program of a test's as its `/init`, and nothing else.

use std::path::Path;

use graven_boot::compression::Compression;
use graven_boot::initramfs::Initramfs;
use graven_boot::{authenticode, uki};

use crate::{forge, image, inputs, oracle};

/// Writes one FAT file system with a UKI that [`image::keys`]' db key signed.
pub(crate) fn disk(disk: &Path, initramfs: &Initramfs, command_line: &str) {
    let kernel = inputs::kernel("binary");
    let release = release(&kernel);
    let stub = inputs::member(&inputs::stub(), "./usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let linux = inputs::member(&kernel, &format!("./usr/lib/modules/{release}/vmlinuz"));
    let unsigned = uki::build(&uki::Parts {
        stub: &stub,
        os_release: "ID=graven\n",
        cmdline: command_line,
        uname: &release,
        initrd: &initramfs.write_compressed(Compression::Zstd).expect("the archive can be written"),
        linux: &linux,
        device_trees: uki::DeviceTrees::None,
    });
    let signer = forge::signer(image::keys());
    let signed = forge::signed(authenticode::sign(&unsigned.expect("the parts make a UKI"), &signer));
    let boot_file = disk.with_file_name("BOOTX64.EFI");
    std::fs::write(&boot_file, signed).expect("it can be written");

    let name = disk.display().to_string();
    oracle::content("/usr/sbin/mkfs.fat", ["-C", &name, "65536"]);
    for folder in ["::/EFI", "::/EFI/BOOT"] {
        oracle::content("mmd", ["-i", &name, folder]);
    }
    let boot_file = boot_file.display().to_string();
    oracle::content("mcopy", ["-i", &name, &boot_file, "::/EFI/BOOT/BOOTX64.EFI"]);
}

/// Messages as the programs read them: each behind its length, 32 bits, little-endian.
pub(crate) fn row(messages: &[Vec<u8>]) -> Vec<u8> {
    let length = |message: &Vec<u8>| u32::try_from(message.len()).expect("a message is short").to_le_bytes();
    messages.iter().flat_map(|message| [&length(message)[..], message].concat()).collect()
}

/// The release in a kernel package's name: `linux-binary-RELEASE_VERSION_amd64.deb`.
pub(crate) fn release(package: &Path) -> String {
    let name = package.file_name().expect("a package has a name").to_string_lossy();
    let release = name.strip_prefix("linux-binary-").and_then(|rest| rest.split_once('_'));
    release.expect("the name has a release").0.to_owned()
}
