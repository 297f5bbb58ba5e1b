//! The digest that an Authenticode signature is about.

use sha2::{Digest, Sha256};

use crate::pe::{DataDirectory, Image};

/// SHA-256 over everything in the image but what signing itself changes.
pub fn digest(image: &Image<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut cover = |from: usize, to: usize| hash.update(image.bytes().get(from..to).unwrap_or_default());

    // The headers, without CheckSum and without the directory entry of the certificate table.
    let checksum = image.checksum_offset();
    let directory = image.certificate_directory_offset();
    cover(0, checksum);
    cover(checksum.saturating_add(4), directory);
    cover(directory.saturating_add(size_of::<DataDirectory>()), image.optional.headers_size.get() as usize);

    // Sections in the order of their data in the file. `Image` has refused gaps and overlaps, so that is one stretch;
    // whatever follows up to the certificate table is covered too.
    cover(image.optional.headers_size.get() as usize, image.certificates.start);
    hash.finalize().into()
}
