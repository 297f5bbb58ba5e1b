//! `[root]`: the root's file system.

use super::Choice;
use crate::fields::Fields;
use crate::paths::LocalPath;
use crate::place::At;
use crate::recipe::{Packed, Root};
use crate::words::{Compressor, RootFs};

/// What does not go together is told of a whole recipe only: a target or profile may state a part.
pub(crate) fn root(mut fields: Fields<'_>, choice: Option<&Choice>) -> (Root, Option<LocalPath>) {
    let fs = fields.word::<RootFs>("fs").map(|fs| fs.value).unwrap_or_default();
    let compress = fields.word::<Compressor>("compress");
    let level = fields.integer("level", &(0..=22));
    let cluster = fields.size("cluster");
    let dedupe = fields.boolean("dedupe");
    let places_of = fields.local_path("places-of");

    let compressor = compress
        .as_ref()
        .map(|compress| compress.value)
        .or((fs == RootFs::Squashfs).then_some(Compressor::Zstd));
    if choice.is_some() {
        let given = [
            ("level", level.as_ref().map(|level| level.place.clone())),
            ("cluster", cluster.as_ref().map(|size| size.place.clone())),
            ("dedupe", dedupe.map(|_| fields.place().clone())),
        ];
        check(&fields, fs, compress.as_ref(), compressor, level.as_ref());
        for (key, place) in given.iter().filter_map(|(key, place)| Some((key, place.as_ref()?))) {
            if *key == "dedupe" {
                let help = match fs {
                    RootFs::Erofs => continue,
                    RootFs::Squashfs => {
                        "take the line out: squashfs always shares files that are the same, and nothing less than a file"
                    }
                    RootFs::Ext4 => "take the line out, or take `fs = \"erofs\"`",
                };
                fields.report_with_help(place, "`root.dedupe` is for EROFS", help);
            } else if compressor.is_none() {
                let message = format!("`root.{key}` says how a root is compressed, and this one is not");
                let help = match fs {
                    RootFs::Ext4 => "take the line out, or take `fs = \"erofs\"` and `compress`",
                    _ => "say with what: compress = \"zstd\"",
                };
                fields.report_with_help(place, message, help);
            }
        }
    }
    if let Some(places_of) = &places_of
        && choice.is_some()
        && (fs != RootFs::Erofs || compressor.is_some())
    {
        let help = "take the line out: what others write lies where they put it";
        fields.report_with_help(&places_of.place, "`root.places-of` is for uncompressed EROFS", help);
    }
    if let Some(cluster) = &cluster
        && !(cluster.value.is_power_of_two() && (SMALLEST..=LARGEST).contains(&cluster.value))
    {
        let message = format!("`root.cluster` is {} bytes", cluster.value);
        fields.report_with_help(&cluster.place, message, "a power of two from \"4K\" to \"1M\"");
    }
    fields.finish();

    let dedupe = dedupe.unwrap_or(false);
    let packed = |usual: u32| {
        compressor.map(|compress| Packed {
            compress,
            level: level.as_ref().and_then(|level| u8::try_from(level.value).ok()),
            cluster: cluster.as_ref().and_then(|size| u32::try_from(size.value).ok()).unwrap_or(usual),
            dedupe,
        })
    };
    let root = match fs {
        RootFs::Erofs => packed(64 << 10).map_or(Root::Plain { dedupe }, Root::Erofs),
        RootFs::Squashfs => packed(128 << 10).map_or_else(Root::default, Root::Squashfs),
        RootFs::Ext4 => Root::Ext4,
    };
    (root, places_of)
}

/// What a file system is not compressed with, and levels that a compressor does not have.
fn check(
    fields: &Fields<'_>,
    fs: RootFs,
    compress: Option<&At<Compressor>>,
    compressor: Option<Compressor>,
    level: Option<&At<i64>>,
) {
    let possible: &[Compressor] = match fs {
        RootFs::Erofs => {
            &[Compressor::Lz4, Compressor::Lz4hc, Compressor::Deflate, Compressor::Zstd, Compressor::Lzma]
        }
        RootFs::Squashfs => &[Compressor::Gzip, Compressor::Lz4, Compressor::Xz, Compressor::Zstd],
        RootFs::Ext4 => &[],
    };
    if let Some(compress) = compress
        && !possible.contains(&compress.value)
    {
        let words: Vec<&str> = possible.iter().map(|one| one.as_str()).collect();
        let help = match words.is_empty() {
            true => "take the line out, or take `fs = \"erofs\"`".to_owned(),
            false => format!("one of {}", words.join(", ")),
        };
        let message = format!("{fs} is not compressed with `{}`", compress.value);
        fields.report_with_help(&compress.place, message, help);
        return;
    }
    let Some((level, compressor)) = level.zip(compressor) else { return };
    match levels(compressor) {
        None => {
            let message = format!("`{compressor}` has no levels");
            fields.report_with_help(&level.place, message, "take the line out");
        }
        Some((least, most)) if !(least..=most).contains(&level.value) => {
            let message = format!("`{compressor}` has no level {}", level.value);
            fields.report_with_help(&level.place, message, format!("{least} to {most}"));
        }
        Some(_) => {}
    }
}

/// Bytes of a cluster.
const SMALLEST: u64 = 4 << 10;
const LARGEST: u64 = 1 << 20;

/// The least and the most that a compressor can be told.
fn levels(compressor: Compressor) -> Option<(i64, i64)> {
    match compressor {
        Compressor::Lz4 | Compressor::Xz => None,
        Compressor::Lz4hc => Some((1, 12)),
        Compressor::Deflate | Compressor::Gzip => Some((1, 9)),
        Compressor::Zstd => Some((1, 22)),
        Compressor::Lzma => Some((0, 9)),
    }
}
