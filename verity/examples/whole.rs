//! What the tools of the trade do, by calls of this crate alone: for measurements of whole runs (`benches/peers.sh`).
//!
//! ```text
//! whole tree DATA HASH [FEC ROOTS]     prints the root hash
//! whole verify DATA HASH ROOTHASH
//! whole digest FILE...                 fs-verity; @LIST stands for the files that LIST names, one a line
//! ```
//!
//! Blocks of 4,096 bytes, SHA-256, a salt of 32 bytes. `RAYON_NUM_THREADS` says on how many threads.

use std::error::Error;
use std::fs::{self, File};

use graven_verity::dm::{self, Params, Report, RootHash, Salt, Superblock};
use graven_verity::fec::{self, Roots};
use graven_verity::fsverity;
use graven_verity::hash::Algorithm;
use graven_verity::io::{Concat, ReadAt, Window, WriteAt};
use graven_verity::progress::Silent;

const BLOCK: u32 = 4096;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["tree", data, hash] => tree(data, hash, None),
        ["tree", data, hash, fec, roots] => tree(data, hash, Some((fec, roots))),
        ["verify", data, hash, root] => verify(data, hash, root),
        ["digest", files @ ..] => digest(files),
        _ => Err("usage: whole tree|verify|digest".into()),
    }
}

fn params(data: &File) -> Outcome<Params> {
    let blocks = data.size()? / u64::from(BLOCK);
    Ok(Params::new(Algorithm::Sha256, BLOCK, BLOCK, blocks, Salt::new(&[0x5a; 32])?)?)
}

fn tree(data: &str, hash: &str, parity: Option<(&str, &str)>) -> Outcome<()> {
    let data = File::open(data)?;
    let hash = File::options().read(true).write(true).create(true).truncate(true).open(hash)?;
    let params = params(&data)?;
    let tree = Window::new(&hash, u64::from(BLOCK), params.tree_bytes());
    hash.write_all_at(&Superblock { uuid: uuid::Uuid::nil(), params: params.clone() }.to_bytes(), 0)?;
    println!("{}", dm::build(&data, &params, &tree)?);
    if let Some((file, roots)) = parity {
        let message = Concat::new().then(&data, params.data_bytes()).then(&tree, params.tree_bytes());
        let blocks = params.data_blocks() + params.tree_blocks();
        fec::encode(&message, blocks, BLOCK, Roots::new(roots.parse()?)?, &File::create(file)?, &Silent)?;
    }
    Ok(())
}

fn verify(data: &str, hash: &str, root: &str) -> Outcome<()> {
    let (data, hash) = (File::open(data)?, File::open(hash)?);
    let params = params(&data)?;
    let tree = Window::new(&hash, u64::from(BLOCK), params.tree_bytes());
    Ok(dm::verify(&data, &tree, &params, &root.parse::<RootHash>()?, &mut Report::new(10), &Silent)?)
}

fn digest(files: &[&str]) -> Outcome<()> {
    let mut names = Vec::new();
    for file in files {
        match file.strip_prefix('@') {
            Some(list) => names.extend(fs::read_to_string(list)?.lines().map(str::to_owned)),
            None => names.push((*file).to_owned()),
        }
    }
    let digests = fsverity::digest_files(&names, &fsverity::Params::default(), &Silent);
    for (name, digest) in names.iter().zip(digests) {
        println!("sha256:{} {name}", digest?.digest);
    }
    Ok(())
}
