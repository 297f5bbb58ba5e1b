//! Names inside the initramfs, absolute paths.

/// stage0 itself, the program that the kernel starts.
pub const INIT: &str = "/init";
/// The signed copy of the whole kernel command line: its exact bytes, no newline at the end.
pub const COMMAND_LINE: &str = "/graven/cmdline";
/// The rendered [`Plan`](crate::Plan).
pub const PLAN: &str = "/graven/plan";
/// The signed policy (PKCS#7, DER), there only when the command line carries its SHA-256 instead of itself.
pub const POLICY: &str = "/graven/policy.p7b";
/// The state's file system as it is on a first boot, [`sparse`](crate::sparse), there only when the plan has a state.
pub const STATE: &str = "/graven/state";
/// The certificate (X.509, DER) by which a seed is signed, there only when the plan's state takes one.
pub const SEED_CERTIFICATE: &str = "/graven/seed.crt";
/// Folder of the kernel modules, loaded in the order of their names.
pub const MODULES: &str = "/graven/modules";

/// The file name of the module that is loaded as number `index` (from 0), e.g. `003-dm-verity.ko.xz`.
///
/// `file` is the kernel's own file name, kept with its ending because the kernel is told by it whether to decompress.
pub fn module_file(index: usize, file: &str) -> String {
    format!("{index:03}-{file}")
}

/// What a name in [`MODULES`] means, or `None` when it is not one that [`module_file`] makes.
pub fn parse_module_file(name: &str) -> Option<ModuleFile> {
    let (number, file) = name.split_once('-')?;
    if number.len() != 3 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (stem, compressed) = if let Some(stem) = file.strip_suffix(".ko") {
        (stem, false)
    } else {
        ([".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|ending| file.strip_suffix(ending))?, true)
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b',');
    if stem.is_empty() || !stem.bytes().all(plain) {
        return None;
    }
    Some(ModuleFile { module: stem.replace('-', "_"), compressed })
}

/// One carried module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// The name as the kernel has it in `/sys/module`, with `_` for `-`.
    pub module: String,
    /// Whether the kernel has to decompress the file itself.
    pub compressed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_come_back_as_the_kernel_spells_them() {
        let name = module_file(3, "dm-verity.ko.xz");
        assert_eq!(name, "003-dm-verity.ko.xz");
        assert_eq!(
            parse_module_file(&name),
            Some(ModuleFile { module: "dm_verity".to_owned(), compressed: true })
        );
        assert!(!parse_module_file("000-ext4.ko").unwrap().compressed);
    }

    #[test]
    fn other_names_are_not_taken_for_modules() {
        for name in
            ["dm-verity.ko", "01-x.ko", "001-x.txt", "001-.ko", "001-a/b.ko", "0a1-x.ko", "001-x.ko.lz4"]
        {
            assert_eq!(parse_module_file(name), None, "{name}");
        }
    }
}
