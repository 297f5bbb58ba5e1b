#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;

use super::*;

const ROOT: Uuid = uuid::uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
const ESP: Uuid = uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

fn spec(number: u128, type_guid: Uuid, name: &str, len: u64) -> Spec {
    Spec {
        type_guid,
        guid: Uuid::from_u128(number),
        name: name.into(),
        len,
        attributes: attributes::READ_ONLY,
    }
}

fn planned() -> Table {
    let specs = [spec(1, ESP, "esp", 3 << 20), spec(2, ROOT, "root-x86-64 ✓", (1 << 20) + 4096)];
    Table::plan(Uuid::from_u128(7), Vec::new(), &specs, 0, ALIGNMENT).unwrap()
}

fn written(table: &Table) -> (tempfile::NamedTempFile, Vec<u8>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(table.disk_bytes).unwrap();
    table.write(file.as_file()).unwrap();
    let bytes = std::fs::read(file.path()).unwrap();
    (file, bytes)
}

/// What `program` prints about `image`; it must be installed and succeed.
fn tool(program: &str, args: &[&str], image: &Path) -> String {
    let output =
        Command::new(program).args(args).arg(image).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn partitions_start_on_the_alignment_and_the_disk_ends_with_the_backup() {
    let table = planned();
    let places: Vec<_> = table.partitions.iter().map(|p| (p.start, p.len)).collect();
    assert_eq!(places, [(1 << 20, 3 << 20), (4 << 20, (1 << 20) + 4096)]);
    assert_eq!(table.disk_bytes, 6 << 20);
}

#[test]
fn what_is_written_is_read_back() {
    let table = planned();
    let (file, _) = written(&table);
    assert_eq!(Table::read(file.as_file()).unwrap(), table);
}

#[test]
fn two_writes_give_the_same_bytes() {
    assert_eq!(written(&planned()).1, written(&planned()).1);
}

#[test]
fn sgdisk_finds_no_problem() {
    let (file, _) = written(&planned());
    let said = tool("sgdisk", &["-v"], file.path());
    assert!(said.contains("No problems found"), "{said}");
    let said = tool("sgdisk", &["-i", "2"], file.path());
    for part in
        ["4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "00000000-0000-0000-0000-000000000002", "1000000000000000"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn sfdisk_agrees() {
    let (file, _) = written(&planned());
    let said = tool("sfdisk", &["--verify"], file.path());
    assert!(said.contains("No errors detected."), "{said}");
    let said = tool("sfdisk", &["--json"], file.path());
    for part in [r#""start": 8192"#, r#""size": 2056"#, r#""attrs": "GUID:60""#, r#""name": "root-x86-64 ✓""#]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_table_of_sfdisk_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    let script = format!(
        "label: gpt\nlabel-id: {}\nsize=4096, type={ROOT}, uuid={}, name=\"r\"\n",
        Uuid::from_u128(9),
        Uuid::from_u128(3)
    );
    let mut child = Command::new("sfdisk")
        .args(["-q"])
        .arg(file.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let table = Table::read(file.as_file()).unwrap();
    assert_eq!(table.disk_guid, Uuid::from_u128(9));
    let root = table.by_type(ROOT).unwrap();
    assert_eq!(
        (root.guid, root.start, root.len, root.name.as_str()),
        (Uuid::from_u128(3), 1 << 20, 2 << 20, "r")
    );
}

/// Every byte of both tables that means something: changing it is noticed, and never panics.
#[test]
fn a_flipped_bit_anywhere_in_the_tables_is_noticed() {
    let table = planned();
    let (_, good) = written(&table);
    let last = good.len() - 512;
    let entries = good.len() - 33 * 512;
    // MBR boot code, record and signature; headers; the used entries; one unused entry.
    let mut places: Vec<usize> = (0..440).step_by(7).chain(450..451).chain(454..512).collect();
    places.extend((512..512 + 92).chain(last..last + 92));
    places.extend((1024..1024 + 300).chain(entries..entries + 300));
    for place in places {
        let mut bad = good.clone();
        bad[place] ^= 4;
        assert!(Table::read(&bad).is_err(), "byte {place}");
    }
}

#[test]
fn a_disk_cut_short_or_grown_is_refused() {
    let (_, good) = written(&planned());
    for len in [0, 1, 512, 1024, HEAD_BYTES as usize, good.len() - 512, good.len() - 1] {
        assert!(Table::read(&good[..len].to_vec()).is_err(), "{len}");
    }
    let mut grown = good;
    grown.extend([0; 512]);
    assert!(Table::read(&grown).is_err());
}

#[test]
fn impossible_tables_are_refused_before_writing() {
    let place = |start, len, guid| Partition {
        type_guid: ROOT,
        guid: Uuid::from_u128(guid),
        name: format!("p{guid}"),
        start,
        len,
        attributes: 0,
    };
    let disk = |partitions| Table { disk_guid: Uuid::nil(), disk_bytes: 8 << 20, partitions };
    let refusal = |table: &Table| table.write(&tempfile::tempfile().unwrap()).unwrap_err();
    let mib = 1 << 20;
    assert!(matches!(
        refusal(&disk(vec![place(mib, 4096, 1), place(mib + 512, 512, 2)])),
        Error::Overlap { .. }
    ));
    assert!(matches!(refusal(&disk(vec![place(512, 512, 1)])), Error::Range { .. }));
    assert!(matches!(refusal(&disk(vec![place(7 * mib, mib, 1)])), Error::Range { .. }));
    assert!(matches!(refusal(&disk(vec![place(mib, 0, 1)])), Error::Empty { .. }));
    assert!(matches!(refusal(&disk(vec![place(mib, 100, 1)])), Error::Unaligned { .. }));
    assert!(matches!(refusal(&disk(vec![place(u64::MAX - 511, 512, 1)])), Error::TooLarge));
    let twice = disk(vec![place(mib, 512, 1), place(2 * mib, 512, 1)]);
    assert!(matches!(refusal(&twice), Error::DuplicateGuid { .. }));
    let long = Table::plan(Uuid::nil(), Vec::new(), &[spec(1, ROOT, &"n".repeat(37), 512)], 0, ALIGNMENT);
    assert!(matches!(long, Err(Error::NameTooLong { units: 37, .. })));
}
