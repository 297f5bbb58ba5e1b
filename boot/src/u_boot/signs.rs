//! What a U-Boot must do without: by the symbols of its configuration, and by the texts that its program shows where it has
//! it.

/// Something that opens a way past the signed FIT.
pub(super) struct Forbidden {
    /// Name of the refusal.
    pub(super) name: &'static str,
    /// Symbols without `CONFIG_`; any one that is on.
    pub(super) symbols: &'static [&'static str],
    /// Texts of U-Boot 2023.01 to 2026.10 that are compiled in with it; any one.
    pub(super) texts: &'static [&'static str],
    /// What it does.
    pub(super) why: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
}

/// All that is told by symbols and texts alone, in alphabetical order.
pub(super) const FORBIDDEN: [Forbidden; 8] = [
    Forbidden {
        name: "android-images",
        symbols: &["ANDROID_BOOT_IMAGE"],
        texts: &["## Booting Android Image at "],
        why: "bootm takes Android images, which carry no signature that it checks",
        remedy: "build it without CONFIG_ANDROID_BOOT_IMAGE",
    },
    Forbidden {
        name: "boots-from-any-medium",
        symbols: &["BOOTSTD", "DISTRO_DEFAULTS", "CMD_BOOTFLOW", "CMD_PXE", "CMD_SYSBOOT"],
        texts: &[
            "\nScanning bootdev '%s':",
            "Scanning bootdev '%s':",
            "get and boot from pxe files",
            "command to get and boot from syslinux files",
        ],
        why: "it looks for extlinux.conf, scripts and network files on whatever medium is there; an `append` in one of them \
              becomes the kernel's command line",
        remedy: "build it without CONFIG_BOOTSTD, CONFIG_DISTRO_DEFAULTS, CONFIG_CMD_PXE and CONFIG_CMD_SYSBOOT, with a bootcmd \
                 of the board's own",
    },
    Forbidden {
        name: "boots-unsigned",
        symbols: &["CMD_ABOOTIMG", "CMD_BOOTI", "CMD_BOOTZ", "CMD_ELF", "CMD_GO", "CMD_ZBOOT"],
        texts: &[
            "manipulate Android Boot Image",
            "boot Linux kernel 'Image' format from memory",
            "boot Linux zImage image from memory",
            "Boot from an ELF image in memory",
            "start application at address 'addr'",
        ],
        why: "it has commands that start code which nobody signed (booti, bootz, bootelf, go, abootimg)",
        remedy: "build it without CONFIG_CMD_BOOTI, CONFIG_CMD_BOOTZ, CONFIG_CMD_ELF, CONFIG_CMD_GO and CONFIG_CMD_ABOOTIMG",
    },
    Forbidden {
        name: "efi-loader",
        symbols: &["CMD_BOOTEFI", "EFI_LOADER"],
        texts: &["Boots an EFI payload from memory", "EFI boot manager: Cannot load any image"],
        why: "it starts EFI programs, unsigned ones too unless Secure Boot is on and keys are enrolled",
        remedy: "build it without CONFIG_EFI_LOADER; a board that boots through it takes a UKI, not a FIT",
    },
    Forbidden {
        name: "fit-verity",
        symbols: &["FIT_VERITY"],
        texts: &["dm-mod.waitfor="],
        why: "it appends a dm-mod.create= of its own to the command line, and stage0 takes the signed line and no other",
        remedy: "build it without CONFIG_FIT_VERITY",
    },
    Forbidden {
        name: "images-from-outside",
        symbols: &[
            "CMD_DFU",
            "CMD_FASTBOOT",
            "CMD_LOADB",
            "CMD_LOADS",
            "CMD_USB_MASS_STORAGE",
            "FASTBOOT",
            "UPDATE_TFTP",
        ],
        texts: &[
            "Device Firmware Upgrade",
            "run as a fastboot usb or udp device",
            "load binary file over serial line",
            "load S-Record file over serial line",
            "Use the UMS [USB Mass Storage]",
            "Auto-update from TFTP: ",
        ],
        why: "whoever holds a cable can write its memory or its media (fastboot, DFU, USB mass storage, serial loads)",
        remedy: "build it without CONFIG_FASTBOOT, CONFIG_CMD_DFU, CONFIG_CMD_USB_MASS_STORAGE, CONFIG_CMD_LOADB, \
                 CONFIG_CMD_LOADS and CONFIG_UPDATE_TFTP",
    },
    Forbidden {
        name: "legacy-images",
        symbols: &["LEGACY_IMAGE_FORMAT"],
        texts: &["## Booting kernel from Legacy Image at "],
        why: "bootm takes legacy images, which carry no signature",
        remedy: "build it without CONFIG_LEGACY_IMAGE_FORMAT",
    },
    Forbidden {
        name: "scripts",
        symbols: &["CMD_SOURCE", "CMD_XIMG"],
        texts: &["run script from memory", "extract a part of a multi-image"],
        why: "it runs scripts and takes images apart",
        remedy: "build it without CONFIG_CMD_SOURCE and CONFIG_CMD_XIMG",
    },
];

/// Printed where a required signature is missing: whoever has it verifies configurations.
pub(super) const VERIFIES: &str = "Failed to verify required signature '%s'";
/// The shell's answer to a word that is no command.
pub(super) const SHELL: [&str; 2] =
    ["Unknown command '%s' - try 'help'", "Unknown command '%s' - try 'help' or use 'run' command"];
/// `saveenv`'s usage.
pub(super) const SAVES_ENVIRONMENT: &str = "save environment variables to persistent storage";
