//! stage0's failure codes.

use std::fmt;

macro_rules! codes {
    ($($variant:ident = $number:literal, $meaning:literal, $remedy:literal;)*) => {
        /// Why stage0 stopped. The numbers are stable: tens are the step, and a number once given keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Code {
            $(#[doc = $meaning] $variant = $number,)*
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// What it means, one line without a full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }

            /// What to do about it, one line without a full stop.
            pub fn remedy(self) -> &'static str {
                match self { $(Code::$variant => $remedy,)* }
            }
        }
    };
}

codes! {
    Internal = 0, "stage0 itself failed", "report the line: this is a defect of Graven";
    NotInit = 1, "stage0 was not started as the first process",
        "start it by the kernel alone, as /init of the initramfs";

    Pseudo = 10, "proc, sysfs, devtmpfs or securityfs cannot be mounted",
        "use a kernel that has it (the builder checks its configuration)";
    Plan = 11, "the plan in the initramfs is missing or cannot be understood",
        "build the image again with the Graven that its stage0 came with";

    SignedLine = 20, "the signed copy of the command line is missing from the initramfs", "build the image again";
    CommandLine = 21, "the kernel's command line is not the signed one",
        "find out who added or changed the words shown (firmware, addon, SMBIOS string); a board file may list exact additions";
    Binding = 22, "the command line has no root hash or policy, or has one twice", "build the image again";
    Lsm = 23, "a security module that the image needs is not active",
        "look for lsm= or security= in the firmware's settings, or use a kernel that has the module in CONFIG_LSM";
    Lockdown = 24, "the kernel is not locked down as the image demands",
        "keep lockdown= on the signed line and use a kernel with the lockdown module";
    SecureBoot = 25, "Secure Boot is not on, or its state cannot be read",
        "enrol the image's certificates and switch Secure Boot on in the firmware; the initramfs needs efivarfs";

    Module = 30, "a kernel module cannot be loaded",
        "use the modules that were built with this very kernel";
    ModuleParameter = 31, "a module parameter does not have the value that the plan gives it",
        "check the parameter's name and whether the module is built into this kernel";

    PartitionMissing = 40, "a partition did not appear in time",
        "check that the whole image was written and that the disk's driver is among the modules; raise the wait in the recipe";
    PartitionTwice = 41, "two partitions have the same UUID",
        "take the second copy of the image out of the machine";
    PartitionSize = 42, "a partition is too small for what the plan places in it", "write the image again";
    Superblock = 43, "the hash tree's superblock is not the one that the plan describes", "write the image again";
    RootSignature = 44, "the root hash signature cannot be read, or is for another root hash",
        "write the image again, or sign this root hash";
    Keyring = 45, "the root hash signature cannot be handed to the kernel", "use a kernel with CONFIG_KEYS";
    VerityTable = 46, "the kernel refuses the dm-verity device",
        "see the kernel's own line above this one (device-mapper: table: …)";
    RootSignatureRefused = 47, "the kernel does not accept the root hash signature",
        "enrol the signing certificate in UEFI db (or build it into the kernel), or sign with a key that is there";
    VerityState = 48, "the dm-verity device is not in the state that was asked for",
        "see the kernel's own lines above this one: the root hash does not match, or blocks are damaged";

    PolicyBlob = 50, "the signed policy is missing from the initramfs", "build the image again";
    PolicyDigest = 51, "the policy in the initramfs is not the one that the command line names",
        "build the image again: its initramfs was changed";
    PolicyRefused = 52, "the kernel does not accept the policy's signature",
        "enrol the signing certificate in UEFI db (or build it into the kernel), or sign with a key that is there";
    PolicyLoad = 53, "the kernel cannot load the policy", "check the policy with `graven policy check`";
    PolicyActivate = 54, "the kernel does not activate the policy",
        "raise policy_version: it must not be lower than the active one's";
    PolicyOthers = 55, "another policy is loaded besides the image's",
        "build the image with this very kernel: its plan names the policy compiled into it (CONFIG_IPE_BOOT_POLICY), and no other";
    PolicyReadBack = 56, "the policy that the kernel holds is not the image's",
        "build the image again: the plan and the policy disagree";
    Enforce = 57, "the kernel does not enforce the policy (or does, where the image is to be permissive)",
        "keep ipe.enforce= on the signed line as the builder wrote it";
    CompiledInPolicy = 58, "the policy compiled into the kernel is not the one that the plan names, or cannot be removed",
        "build the image with this very kernel";
    Successor = 59, "a successor of the policy is refused",
        "the image's own policy stays in force; see the detail, and check the file with `graven policy check --replaces`";

    RootMount = 60, "the root cannot be mounted",
        "check that the file system's module is among the modules and that the image was written whole";
    RootNotVerified = 61, "what is mounted as root or volume is not the verified device, or not read-only",
        "report the line: this is a defect of Graven";
    Mount = 62, "another file system of the image cannot be mounted",
        "check the partition, or let the recipe say what happens when it is damaged";
    InitRefused = 63, "the kernel would not run the image's init",
        "sign a policy for this root hash; make the program executable";
    StateDamaged = 64, "the state is damaged",
        "nothing where it was made anew or a tmpfs took its place; else look at the disk, or let the recipe say if-damaged = \"reset\"";
    StateFormat = 65, "the state's file system cannot be made", "look at the disk: it may be worn out";
    StateGrow = 66, "the state cannot be grown", "see the detail: the disk's partition table, or the file system";
    Persist = 67, "a path cannot be bound from the state",
        "check that the root has it as a file or folder and that no symbolic link leads to it";
    Seed = 68, "the seed is refused",
        "take it out, or make it again with `graven provision sign` and the key whose certificate the recipe names";
    Clock = 69, "the clock cannot be set", "report the line: this is a defect of Graven";

    HelperCapabilities = 70, "the kernel's helper programs keep capabilities", "use a kernel with kernel.usermodehelper.*";
    Capabilities = 71, "CAP_MAC_ADMIN cannot be given up", "report the line: this is a defect of Graven";
    SystemCallFilter = 72, "the filter of device-mapper ioctls cannot be installed",
        "use a kernel with CONFIG_SECCOMP_FILTER";
    WriteExecute = 73, "memory that was written can still be made executable",
        "use a kernel of 6.3 or later, or relax mdwe in the recipe with a reason";
    Sysctl = 74, "a kernel setting cannot be set or does not keep its value",
        "use a kernel that has it, or relax it in the recipe with a reason";
    ExecSecurebits = 75, "the exec securebits cannot be set", "use a kernel of 6.14 or later";

    Keyrings = 80, "a key or keyring of stage0's own cannot be removed", "report the line: this is a defect of Graven";
    Leave = 81, "the initramfs cannot be left", "report the line: this is a defect of Graven";
    Init = 82, "the image's init cannot be started",
        "check that it exists in the root, is executable, and that its loader and libraries lie in the root as well";
}

impl Code {
    /// The stable number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The page `docs/stage0-codes.md`.
    pub fn page() -> String {
        let mut page = String::from(PAGE_HEAD);
        for code in Code::ALL {
            page.push_str(&format!("| `{code}` | {} | {} |\n", code.meaning(), code.remedy()));
        }
        page
    }
}

const PAGE_HEAD: &str = "# stage0's codes

When stage0 stops, it writes one line to the console and to the kernel's log (at the most urgent level, so that pstore
keeps it), then does what the recipe's `on-failure` says. Before the plan is read, that is a reboot after five seconds.

Where it goes on all the same, the line says `warning:` before the code.

```
graven: stage0: S0-21 the kernel's command line is not the signed one: differs … at byte 151: expected …, found …
```

The number's tens are the step: 1 mounts, 2 command line and its effects, 3 modules, 4 verity, 5 policy, 6 root and
other mounts, 7 lockdown, 8 hand-over to the image's init. A number keeps its meaning for ever.

This page is made from `boot/handoff/src/code.rs` by
`cargo run -p graven-handoff --example stage0-codes > docs/stage0-codes.md`; a test compares the two.

| code | meaning | what to do |
|---|---|---|
";

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S0-{:02}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_two_digits_and_rise() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(Code::ALL.iter().all(|code| code.number() < 100));
        assert_eq!(Code::CommandLine.to_string(), "S0-21");
        assert_eq!(Code::Internal.to_string(), "S0-00");
    }

    #[test]
    fn the_page_in_docs_is_this_one() {
        let committed = include_str!("../../../docs/stage0-codes.md");
        assert!(
            committed == Code::page(),
            "docs/stage0-codes.md is old: cargo run -p graven-handoff --example stage0-codes > docs/stage0-codes.md"
        );
    }

    #[test]
    fn lines_are_lines() {
        for code in Code::ALL {
            for text in [code.meaning(), code.remedy()] {
                assert!(!text.contains(['\n', '|']) && !text.ends_with('.') && !text.is_empty(), "{code}");
            }
        }
    }
}
