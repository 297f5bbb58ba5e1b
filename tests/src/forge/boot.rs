//! The boot artefact, apart and together.

use graven_boot::compression::Compression;
use graven_boot::initramfs::{self, Initramfs, Kind, Limits};
use graven_boot::sign::Signer;
use graven_boot::{authenticode, pkcs7, uki};
use graven_handoff as handoff;
use graven_handoff::initramfs::{COMMAND_LINE, PLAN};
use graven_handoff::{Binding, Plan, PolicySource};
use graven_verity::dm::RootHash;

use super::{BOOT_FILE, FIT_FILE, Forgery, fit, signed};
use crate::inputs;

/// What a UKI or a FIT is made of, to be changed.
#[derive(Debug, Clone)]
pub struct BootParts {
    /// The command line: the section `.cmdline`, or `/chosen/bootargs` of the FIT's device tree.
    pub line: String,
    /// The initramfs, unpacked.
    pub initramfs: Initramfs,
    /// The kernel as it lies there, in a FIT compressed.
    pub kernel: Vec<u8>,
    compression: Compression,
    shape: Shape,
}

/// The rest of it.
#[derive(Debug, Clone)]
enum Shape {
    Uki {
        os_release: String,
        uname: String,
    },
    /// The whole FIT, which gets other images.
    Fit(Vec<u8>),
}

impl BootParts {
    /// Changes the line, and the copy of it that stage0 compares with.
    pub fn set_line(&mut self, line: impl Into<String>) {
        self.line = line.into();
        self.initramfs.file(COMMAND_LINE, 0o444, self.line.as_bytes());
    }

    /// Root hash and policy, as the line has them.
    pub fn binding(&self) -> Binding {
        Binding::parse(&self.line).expect("a line of ours binds both")
    }

    /// Changes root hash and policy, on the line and in its copy.
    pub fn set_binding(&mut self, binding: &Binding) {
        self.set_line(self.line.replace(&self.binding().words(), &binding.words()));
    }

    /// Binds it to another root, on the line and in its copy; the policy stays.
    pub fn bind(&mut self, root_hash: &RootHash) {
        let root_hash = handoff::RootHash::new(root_hash.as_bytes()).expect("32 bytes");
        self.set_binding(&Binding { root_hash, ..self.binding() });
    }

    /// The signed policy on the line.
    pub fn policy(&self) -> Vec<u8> {
        match self.binding().policy {
            PolicySource::Inline(message) => message,
            PolicySource::Sha256(_) => panic!("the policy of this image is not on its line"),
        }
    }

    /// Puts another signed policy onto the line and into its copy.
    pub fn set_policy(&mut self, message: Vec<u8>) {
        let binding = Binding { policy: PolicySource::Inline(message), ..self.binding() };
        self.set_binding(&binding);
    }

    /// Signs a policy and puts it onto the line and into its copy.
    pub fn sign_policy(&mut self, text: &str, signer: &dyn Signer) {
        self.set_policy(signed(pkcs7::sign_policy(text.as_bytes(), signer)));
    }

    /// Changes stage0's plan.
    pub fn change_plan(&mut self, change: impl FnOnce(&mut Plan)) {
        let text = String::from_utf8(self.member(PLAN)).expect("a plan is text");
        let mut plan = Plan::parse(&text).expect("a plan of ours");
        change(&mut plan);
        self.initramfs.file(PLAN, 0o444, plan.render().expect("a plan that can be written"));
    }

    /// The contents of a file of the initramfs.
    pub fn member(&self, path: &str) -> Vec<u8> {
        match self.initramfs.get(path).map(|entry| &entry.kind) {
            Some(Kind::File(contents)) => contents.clone(),
            other => panic!("{path} is no file in the initramfs: {other:?}"),
        }
    }

    /// Changes one bit in the middle of a file of the initramfs.
    pub fn flip_member(&mut self, path: &str) {
        let mut contents = self.member(path);
        let middle = contents.len() / 2;
        contents[middle] ^= 1;
        let mode = self.initramfs.get(path).expect("it is there").mode;
        self.initramfs.file(path, mode, contents);
    }

    /// Puts the parts together and signs the whole.
    pub fn sign(&self, signer: &dyn Signer) -> Vec<u8> {
        match &self.shape {
            Shape::Uki { .. } => signed(authenticode::sign(&self.assemble(), signer)),
            Shape::Fit(_) => fit::sign(&self.assemble(), signer),
        }
    }

    /// Puts the parts together.
    pub fn assemble(&self) -> Vec<u8> {
        let initrd = self.initramfs.write_compressed(self.compression).expect("the archive can be written");
        let (os_release, uname) = match &self.shape {
            Shape::Uki { os_release, uname } => (os_release, uname),
            Shape::Fit(whole) => return fit::with_parts(whole, &self.kernel, &initrd, &self.line),
        };
        let stub = inputs::member(&inputs::stub(), "./usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        let parts = uki::Parts {
            stub: &stub,
            os_release,
            cmdline: &self.line,
            uname,
            initrd: &initrd,
            linux: &self.kernel,
            device_trees: uki::DeviceTrees::None,
        };
        uki::build(&parts).expect("the parts make a UKI")
    }
}

impl Forgery {
    /// The boot artefact's parts as they are now.
    pub fn boot_parts(&self) -> BootParts {
        let bytes = self.esp_file(self.boot_file());
        if self.boot_file() == FIT_FILE {
            let fit::Parts { line, initrd, kernel } = fit::parts(&bytes);
            return BootParts {
                line,
                initramfs: initramfs::parse(&initrd, Limits::default()).expect("of ours"),
                kernel,
                compression: Compression::of(&initrd),
                shape: Shape::Fit(bytes),
            };
        }
        let uki = uki::Uki::parse(&bytes).expect("the boot file is a UKI");
        let initrd = uki.initrd().expect("with an initramfs");
        BootParts {
            line: uki.cmdline().expect("with a line").to_owned(),
            initramfs: initramfs::parse(initrd, Limits::default()).expect("of ours"),
            kernel: uki.linux().expect("with a kernel").to_vec(),
            compression: Compression::of(initrd),
            shape: Shape::Uki {
                os_release: uki.os_release().expect("with a name").to_owned(),
                uname: uki.uname().expect("with a release").to_owned(),
            },
        }
    }

    /// Changes the boot artefact and signs it again.
    pub fn sign_boot_again(&self, signer: &dyn Signer, change: impl FnOnce(&mut BootParts)) {
        let mut parts = self.boot_parts();
        change(&mut parts);
        self.put_esp_file(self.boot_file(), &parts.sign(signer));
    }

    /// The boot artefact's file.
    fn boot_file(&self) -> &'static str {
        if self.has_esp_file(FIT_FILE) { FIT_FILE } else { BOOT_FILE }
    }

    /// Writes other words of the same length into the boot artefact's line; its signature stays as it was.
    pub fn overwrite_line(&self, words: &str, others: &str) {
        assert_eq!(words.len(), others.len());
        let mut bytes = self.esp_file(BOOT_FILE);
        let uki = uki::Uki::parse(&bytes).expect("the boot file is a UKI");
        let range = uki.range(".cmdline").expect("it has a line");
        let at = uki.cmdline().expect("it has a line").find(words).expect("the line has these words");
        bytes[range.start + at..][..others.len()].copy_from_slice(others.as_bytes());
        self.put_esp_file(BOOT_FILE, &bytes);
    }

    /// Changes one bit in the middle of a section of the boot artefact; its signature stays as it was.
    pub fn flip_section(&self, section: &str) {
        let mut bytes = self.esp_file(BOOT_FILE);
        let uki = uki::Uki::parse(&bytes).expect("the boot file is a UKI");
        let range = uki.range(section).unwrap_or_else(|| panic!("it has no section {section}"));
        bytes[range.start + range.len() / 2] ^= 1;
        self.put_esp_file(BOOT_FILE, &bytes);
    }
}
