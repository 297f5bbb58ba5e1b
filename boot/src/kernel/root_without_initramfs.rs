//! Can this kernel mount a root by itself? Then a changed command line (`rdinit=/none root=/dev/…`) skips stage0.
//!
//! `prepare_namespace` of `init/do_mounts.c` needs a block driver and a file system, or the network and one, before any
//! module is loaded; so only what is compiled in counts. The lists err on the side of refusal.

use super::config::Config;

/// Drivers that make disks, each by itself enough with a file system. `BLK_DEV_SD` and `BLK_DEV_SR` stand for all host
/// adapters, which are too many to list.
const DISKS: [&str; 19] = [
    "BLK_DEV_NVME",
    "BLK_DEV_SD",
    "BLK_DEV_SR",
    "VIRTIO_BLK",
    "MMC_BLOCK",
    "XEN_BLKDEV_FRONTEND",
    "USB_STORAGE",
    "USB_UAS",
    "SCSI_VIRTIO",
    "SCSI_UFSHCD",
    "BLK_DEV_PMEM",
    "BLK_DEV_PCIESSD_MTIP32XX",
    "BLK_DEV_FD",
    "BLK_DEV_RBD",
    "ATA_OVER_ETH",
    "MSPRO_BLOCK",
    "MTD_BLOCK",
    "MTD_BLOCK_RO",
    "MTD_UBI",
];

/// Drivers that are no disk without `BLK_DEV_SD`; alone they do not count.
const NEED_SD: [&str; 4] = ["USB_STORAGE", "USB_UAS", "SCSI_VIRTIO", "SCSI_UFSHCD"];

/// File systems that live on disks or flash.
const FILE_SYSTEMS: [&str; 36] = [
    "EXT2_FS",
    "EXT4_FS",
    "EROFS_FS",
    "SQUASHFS",
    "XFS_FS",
    "BTRFS_FS",
    "F2FS_FS",
    "ISO9660_FS",
    "UDF_FS",
    "VFAT_FS",
    "MSDOS_FS",
    "EXFAT_FS",
    "NTFS_FS",
    "NTFS3_FS",
    "HFS_FS",
    "HFSPLUS_FS",
    "HPFS_FS",
    "JFS_FS",
    "REISERFS_FS",
    "NILFS2_FS",
    "GFS2_FS",
    "OCFS2_FS",
    "BCACHEFS_FS",
    "CRAMFS",
    "ROMFS_FS",
    "MINIX_FS",
    "BFS_FS",
    "UFS_FS",
    "BEFS_FS",
    "AFFS_FS",
    "ADFS_FS",
    "QNX4FS_FS",
    "QNX6FS_FS",
    "OMFS_FS",
    "JFFS2_FS",
    "UBIFS_FS",
];

/// What a kernel could mount a foreign root with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnRoot {
    /// What brings the bytes.
    pub(super) driver: &'static str,
    /// What reads them.
    pub(super) file_system: &'static str,
}

/// The first pair found: disk and file system, or network and NFS or SMB, or 9P over virtio.
///
/// virtio-fs (`VIRTIO_FS`, compiled into Debian's kernels with `VIRTIO_PCI`) is not counted: it is a file system that
/// only a virtual machine's host can offer, and a host that can is already trusted with the machine's memory. That the
/// command line ends in `--`, behind which what is appended reaches no kernel parameter, closes it there too.
pub(super) fn own_root(config: &Config) -> Option<OwnRoot> {
    let first = |symbols: &[&'static str]| symbols.iter().copied().find(|s| config.is_built_in(s));
    let disks: Vec<_> = DISKS
        .into_iter()
        .filter(|disk| !NEED_SD.contains(disk) || config.is_built_in("BLK_DEV_SD"))
        .collect();
    if let (Some(driver), Some(file_system)) = (first(&disks), first(&FILE_SYSTEMS)) {
        return Some(OwnRoot { driver, file_system });
    }
    for (driver, file_system) in [
        ("IP_PNP", "ROOT_NFS"),
        ("IP_PNP", "CIFS_ROOT"),
        ("NET_9P_VIRTIO", "9P_FS"),
        ("NET_9P_XEN", "9P_FS"),
        ("NET_9P_FD", "9P_FS"),
    ] {
        if config.is_built_in(driver) && config.is_built_in(file_system) {
            return Some(OwnRoot { driver, file_system });
        }
    }
    None
}
