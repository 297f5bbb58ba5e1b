//! A FIT of ours, whose images are changed in their places.

use graven::link::KEY_NAME;
use graven_boot::fdt::{Property, Tree};
use graven_boot::fit::{self, Fit, Hash, SignOptions, Signed};
use graven_boot::sign::Signer;

use super::{FIT_FILE, Forgery};

/// Nodes of the FIT that the builder makes for one device tree.
pub const KERNEL: &str = "/images/kernel";
/// The initramfs.
pub const INITRAMFS: &str = "/images/initramfs";
/// The device tree, which carries the command line.
pub const DEVICE_TREE: &str = "/images/fdt-1";
/// The configuration.
pub const CONFIGURATION: &str = "/configurations/conf-1";

pub(super) struct Parts {
    pub(super) line: String,
    pub(super) initrd: Vec<u8>,
    pub(super) kernel: Vec<u8>,
}

/// What a FIT holds.
pub(super) fn parts(bytes: &[u8]) -> Parts {
    let tree = Tree::parse(bytes).expect("the boot file is a FIT");
    let device_tree = value(&tree, DEVICE_TREE, "data");
    let chosen = Tree::parse(&device_tree).expect("with a device tree");
    let line = chosen.node("/chosen").and_then(|chosen| chosen.text("bootargs"));
    Parts {
        line: line.expect("with a line").to_owned(),
        initrd: value(&tree, INITRAMFS, "data"),
        kernel: value(&tree, KERNEL, "data"),
    }
}

/// The same FIT with other images, and their hashes; its signatures stay as they were.
pub(super) fn with_parts(bytes: &[u8], kernel: &[u8], initrd: &[u8], line: &str) -> Vec<u8> {
    changed(bytes, |tree| {
        put_image(tree, KERNEL, kernel);
        put_image(tree, INITRAMFS, initrd);
        let bytes = value(tree, DEVICE_TREE, "data");
        let mut device_tree = Tree::parse(&bytes).expect("a device tree");
        device_tree.set_bootargs(line).expect("it takes a line");
        put_image(tree, DEVICE_TREE, &device_tree.to_bytes().expect("it can be written"));
    })
}

/// Signs all configurations again.
pub fn sign(bytes: &[u8], signer: &dyn Signer) -> Vec<u8> {
    let timestamp = Fit::parse(bytes).expect("a FIT").timestamp().expect("with a time");
    match fit::sign(bytes, &SignOptions::new(KEY_NAME, timestamp), signer) {
        Ok(Signed::Whole(signed)) => signed,
        other => panic!("a file signer answers at once: {other:?}"),
    }
}

/// Puts data into an image, and the hash of it.
pub fn put_image(tree: &mut Tree<'_>, image: &str, data: &[u8]) {
    put(tree, image, "data", data);
    put(tree, &format!("{image}/hash-1"), "value", &Hash::Sha256.digest(data));
}

/// Sets a property.
pub fn put(tree: &mut Tree<'_>, node: &str, name: &'static str, value: &[u8]) {
    tree.set(node, Property::bytes(name, value.to_vec())).expect("the node is there");
}

/// A property's value.
pub fn value(tree: &Tree<'_>, node: &str, name: &str) -> Vec<u8> {
    let value = tree.node(node).and_then(|node| node.value(name));
    value.unwrap_or_else(|| panic!("{node} has no {name}")).to_vec()
}

/// A changed copy of a device tree blob.
pub fn changed(bytes: &[u8], change: impl FnOnce(&mut Tree<'_>)) -> Vec<u8> {
    let mut tree = Tree::parse(bytes).expect("a device tree");
    change(&mut tree);
    tree.to_bytes().expect("it can be written")
}

impl Forgery {
    /// Changes the FIT's tree, hashes and signatures left as they are.
    pub fn change_fit(&self, change: impl FnOnce(&mut Tree<'_>)) {
        self.put_esp_file(FIT_FILE, &changed(&self.esp_file(FIT_FILE), change));
    }

    /// Changes one bit in the middle of an image of the FIT.
    pub fn flip_image(&self, image: &str) {
        self.change_fit(|tree| {
            let mut data = value(tree, image, "data");
            let middle = data.len() / 2;
            data[middle] ^= 1;
            put(tree, image, "data", &data);
        });
    }
}
