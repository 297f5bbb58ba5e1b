//! The device tree reader and writer against dtc, and against bytes that mean harm.
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;

use graven_boot::fdt::{DEEPEST, FdtError, Node, Property, Tree};
use graven_boot::fit;
use oracle::{run, text};
use proptest::prelude::*;

const SOURCE: &str = r#"/dts-v1/;
/memreserve/ 0x10000000 0x4000;
/ {
  #address-cells = <2>; #size-cells = <2>; compatible = "acme,one", "acme,all"; model = "odd";
  cpus { #address-cells = <1>; #size-cells = <0>; cpu@0 { device_type = "cpu"; reg = <0>; }; cpu@1 { reg = <1>; }; };
  label: bus@8000 { compatible = "simple-bus"; ranges; dma-coherent; bytes = [01 02 03 04 05]; };
  aliases { bus0 = &label; };
};"#;

fn dtc(source: &str) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let (from, to) = (text(&work.path().join("a.dts")), text(&work.path().join("a.dtb")));
    fs::write(&from, source).unwrap();
    run("dtc", &["-q", "-I", "dts", "-O", "dtb", "-o", &to, &from]);
    fs::read(to).unwrap()
}

fn dts(blob: &[u8]) -> String {
    let work = tempfile::tempdir().unwrap();
    let from = text(&work.path().join("a.dtb"));
    fs::write(&from, blob).unwrap();
    String::from_utf8(run("dtc", &["-q", "-I", "dtb", "-O", "dts", &from])).unwrap()
}

#[test]
fn what_dtc_writes_is_written_back_byte_for_byte() {
    let theirs = dtc(SOURCE);
    let tree = Tree::parse(&theirs).unwrap();
    assert_eq!(tree.to_bytes().unwrap(), theirs);
    assert_eq!(tree.root().texts("compatible").unwrap(), ["acme,one", "acme,all"]);
    assert_eq!(tree.node("/cpus/cpu@1").unwrap().number("reg"), Some(1));
}

#[test]
fn bootargs_are_put_where_the_kernel_reads_them_and_nothing_else_changes() {
    let theirs = dtc(SOURCE);
    let mut tree = Tree::parse(&theirs).unwrap();
    tree.set_bootargs("console=ttyS0 quiet").unwrap();
    tree.set_bootargs("console=ttyAMA0 ro").unwrap();
    let ours = tree.to_bytes().unwrap();
    let expected =
        dts(&dtc(&SOURCE.replace("  cpus {", "  chosen { bootargs = \"console=ttyAMA0 ro\"; };\n  cpus {")));
    assert_eq!(dts(&ours), expected);
    assert!(matches!(tree.set_bootargs("a\0b"), Err(FdtError::Nul { offset: 1, .. })));
}

#[test]
fn names_that_no_reader_could_tell_apart_are_refused() {
    let twice = Node::new("").with(Property::cell("a", 1)).with(Property::cell("a", 2));
    assert!(matches!(Tree::new(twice), Err(FdtError::Twice { what: "properties", .. })));
    let twice = Node::new("").with_child(Node::new("n")).with_child(Node::new("n"));
    assert!(matches!(Tree::new(twice), Err(FdtError::Twice { what: "nodes", .. })));
    let slash = Node::new("").with_child(Node::new("a/b"));
    assert!(matches!(Tree::new(slash), Err(FdtError::Name { .. })));
}

/// Header, empty memory reservations, this structure block, no strings.
fn with_structure(structure: &[u8]) -> Vec<u8> {
    let total = 56 + structure.len() as u32;
    let header = [0xd00d_feed, total, 56, total, 40, 17, 16, 0, 0, structure.len() as u32];
    let header = header.iter().flat_map(|field: &u32| field.to_be_bytes());
    header.chain([0; 16]).chain(structure.iter().copied()).collect()
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = |depth: usize| {
        let mut structure = [0, 0, 0, 1, 0, 0, 0, 0].to_vec();
        structure.extend([0, 0, 0, 1, b'n', 0, 0, 0].repeat(depth - 1));
        structure.extend([0, 0, 0, 2].repeat(depth));
        structure.extend([0, 0, 0, 9]);
        with_structure(&structure)
    };
    assert!(Tree::parse(&deep(DEEPEST)).is_ok());
    assert!(matches!(Tree::parse(&deep(DEEPEST + 1)), Err(FdtError::TooMuch { .. })));
    assert!(matches!(Tree::parse(&deep(1 << 20)), Err(FdtError::TooMuch { .. })));
}

#[test]
fn two_roots_and_tokens_out_of_place_are_refused() {
    let root = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    let end = [0, 0, 0, 9];
    assert!(Tree::parse(&with_structure(&[&root[..], &end].concat())).is_ok());
    for structure in [
        [&root[..], &root, &end].concat(),
        [&root[..], &end, &end].concat(),
        [&root[..8], &end].concat(),
        [&[0, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 2][..], &end].concat(),
        [&[0, 0, 0, 2][..], &end].concat(),
        [&[0, 0, 0, 7][..], &end].concat(),
        Vec::new(),
    ] {
        assert!(Tree::parse(&with_structure(&structure)).is_err(), "{structure:x?}");
    }
    let nops = [&[0, 0, 0, 4][..], &root, &[0, 0, 0, 4], &end].concat();
    assert!(Tree::parse(&with_structure(&nops)).unwrap().had_nops());
}

#[test]
fn every_truncation_and_every_changed_byte_is_an_answer() {
    let whole = dtc(SOURCE);
    for cut in 0..whole.len() {
        assert!(Tree::parse(&whole[..cut]).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= bits;
            // What is read can be written, and reads the same again.
            if let Ok(tree) = Tree::parse(&changed) {
                let again = tree.to_bytes().unwrap();
                assert_eq!(Tree::parse(&again).unwrap().root(), tree.root());
            }
            let _ = fit::verify(&changed, &[]);
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z#][a-z0-9,._+-]{0,12}"
}

fn node(depth: u32) -> impl Strategy<Value = Node<'static>> {
    let properties = prop::collection::btree_map(name(), prop::collection::vec(any::<u8>(), 0..20), 0..4);
    let leaf = (name(), properties).prop_map(|(name, properties)| {
        properties.into_iter().fold(Node::new(name), |node, (name, value)| {
            node.with(Property::bytes(Box::leak(name.into_boxed_str()), value))
        })
    });
    leaf.prop_recursive(depth, 24, 4, move |inner| {
        (name(), prop::collection::vec(inner, 0..4)).prop_map(|(name, children)| {
            children.into_iter().enumerate().fold(Node::new(name), |node, (number, child)| {
                let own = child
                    .properties()
                    .iter()
                    .fold(Node::new(format!("n{number}")), |own, property| own.with(property.clone()));
                let whole = child.children().iter().fold(own, |own, below| own.with_child(below.clone()));
                node.with_child(whole)
            })
        })
    })
}

proptest! {
    #[test]
    fn every_tree_is_read_back(root in node(4)) {
        let tree = Tree::new(root).unwrap();
        let bytes = tree.to_bytes().unwrap();
        let read = Tree::parse(&bytes).unwrap();
        prop_assert_eq!(read.root(), tree.root());
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn reading_never_panics(structure in prop::collection::vec(prop_oneof![0_u32..10, any::<u32>()], 0..60)) {
        let structure: Vec<u8> = structure.iter().flat_map(|word| word.to_be_bytes()).collect();
        let _ = Tree::parse(&with_structure(&structure));
        let _ = Tree::parse(&structure);
    }
}
