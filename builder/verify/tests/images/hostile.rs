//! Whatever bytes a disk has: an answer, no panic, in bounded time.

use crate::image::{Change, Image, by_role, options};
use graven_verify::report::State;
use graven_verify::{Contents, Disk, Options, Trust, prove};
use std::sync::Arc;

#[test]
fn a_cut_image_gets_an_answer() {
    let whole = &Image::plain().disk;
    for length in [0, 1, 511, 512, 1024, 17_408, 1 << 20, whole.len() / 2, whole.len() - 512] {
        let disk: Disk = Arc::new(whole[..length].to_vec());
        for manifest in [None, Some(&Image::plain().manifest)] {
            let report = prove(&disk, manifest, &by_role(), &options());
            assert_eq!(report.verdict(), State::Bad, "{length}");
        }
        assert!(Contents::open(disk).is_err(), "{length}");
    }
}

#[test]
fn damage_anywhere_in_the_small_structures_gets_an_answer() {
    // Steps that are no multiple of any structure's length, over GPT, boot sector, UKI headers, superblock, EROFS head.
    let plain = Image::plain();
    let uki = plain.uki_offset();
    let partitions = &plain.table.partitions;
    let places = [
        0,
        partitions[0].start as usize,
        uki,
        partitions[1].start as usize + 1024,
        partitions[2].start as usize,
    ];
    let trust = Trust::default();
    for start in places {
        for step in 0..24 {
            let mut image = plain.clone();
            let offset = start + step * 37;
            image.disk[offset] ^= 0xff;
            image.disk[offset + 1] ^= 0xff;
            let report = image.prove_with(false, &trust, &Options::default());
            assert_eq!(report.verdict(), State::Bad);
            let disk: Disk = Arc::new(image.disk);
            if let Ok(contents) = Contents::open(disk) {
                let _ = graven_verify::inspect::inspect(&contents);
            }
        }
    }
}

#[test]
fn an_initramfs_bomb_is_refused() {
    let change = Change {
        initrd: Box::new(|_| {
            // 600 MiB of zeros in a few kilobytes.
            let mut archive = graven_boot::initramfs::Initramfs::for_stage0();
            archive.file("/init", 0o755, vec![0; 600 << 20]);
            archive.write_compressed(graven_boot::compression::Compression::Gzip).unwrap()
        }),
        ..Change::default()
    };
    let report = Image::build(&change).prove(false);
    let link = report.link("initramfs").unwrap();
    assert!(link.state == State::Bad && link.detail.contains("more than"), "{report}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let change = Change {
        initramfs: Box::new(|archive| archive.file("/evil\x1b[2J", 0o755, *b"x")),
        os_release: Box::new(|text| text.replace("release\n", "\x1b[31mrelease\n")),
        ..Change::default()
    };
    let image = Image::build(&change);
    let report = image.prove(true).to_string();
    assert!(!report.contains('\x1b'), "{report}");
    let contents = Contents::open(Arc::new(image.disk)).unwrap();
    let summary = graven_verify::inspect::inspect(&contents).unwrap();
    assert!(!summary.to_string().contains('\x1b'));
}
