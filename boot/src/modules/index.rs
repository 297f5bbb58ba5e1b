//! depmod's files for the modules that a root carries, so that modprobe and udev find them there.
//!
//! Oracle and source: kmod's `tools/depmod.c` (30). libkmod reads the `.bin` files; busybox and people read the texts.
//! Where several orders are right (dependencies that do not depend on each other, symbols), ours follows from `depends=`
//! and from the alphabet, depmod's from symbol tables and a hash.

use std::collections::{BTreeMap, BTreeSet};

use super::closure::Module;
use super::index_bin::Trie;
use super::normal;

/// One file of the modules folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// Its name in the modules folder.
    pub name: &'static str,
    /// Its bytes.
    pub contents: Vec<u8>,
}

/// What the files are made from.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    /// The modules that the root carries, each with all it depends on.
    pub modules: &'a [Module],
    /// `modules.order` of the kernel: one path a line, which decides who comes first when two modules answer to one name.
    pub order: &'a str,
    /// `modules.builtin`
    pub builtin: &'a str,
    /// `modules.builtin.modinfo`
    pub builtin_modinfo: &'a [u8],
}

impl Index<'_> {
    /// All files, the same for the same modules whatever their order in `modules`.
    pub fn files(&self) -> Vec<IndexFile> {
        let modules = self.sorted();
        let (dep, dep_bin) = dependencies(&modules);
        let (alias, alias_bin) = aliases(&modules);
        let (symbols, symbols_bin) = symbols(&modules);
        let builtin: Vec<&str> = self.builtin.lines().filter(|line| !line.trim().is_empty()).collect();
        vec![
            IndexFile { name: "modules.dep", contents: dep.into_bytes() },
            IndexFile { name: "modules.dep.bin", contents: dep_bin },
            IndexFile { name: "modules.alias", contents: alias.into_bytes() },
            IndexFile { name: "modules.alias.bin", contents: alias_bin },
            IndexFile { name: "modules.symbols", contents: symbols.into_bytes() },
            IndexFile { name: "modules.symbols.bin", contents: symbols_bin },
            IndexFile { name: "modules.softdep", contents: soft_dependencies(&modules).into_bytes() },
            IndexFile { name: "modules.devname", contents: device_names(&modules).into_bytes() },
            IndexFile { name: "modules.builtin.bin", contents: builtin_bin(&builtin) },
            IndexFile {
                name: "modules.builtin.alias.bin",
                contents: builtin_alias_bin(self.builtin_modinfo),
            },
        ]
    }

    /// In the order of `modules.order`; modules it does not name follow by path.
    fn sorted(&self) -> Vec<&Module> {
        let places: BTreeMap<&str, usize> = self.order.lines().map(str::trim).zip(0..).collect();
        let mut modules: Vec<&Module> = self.modules.iter().collect();
        modules.sort_by_key(|module| {
            let path = module.path.as_str();
            let plain = [".xz", ".zst", ".gz"].iter().find_map(|s| path.strip_suffix(s)).unwrap_or(path);
            (places.get(plain).copied().unwrap_or(usize::MAX), path)
        });
        modules
    }
}

fn priority(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// `PATH: PATH…`: a module and all it depends on, each before what it depends on itself (they are loaded from the end).
fn dependencies(modules: &[&Module]) -> (String, Vec<u8>) {
    let by_name: BTreeMap<&str, usize> = modules.iter().zip(0..).map(|(m, i)| (m.name.as_str(), i)).collect();
    let direct: Vec<Vec<usize>> = modules
        .iter()
        .map(|module| {
            module.info.depends().filter_map(|d| by_name.get(normal(d).as_str()).copied()).collect()
        })
        .collect();
    let ranks = ranks(&direct);
    let rank = |index: &usize| ranks.get(*index).copied().unwrap_or(usize::MAX);
    let mut text = String::new();
    let mut trie = Trie::default();
    for (index, module) in modules.iter().enumerate() {
        let mut all = BTreeSet::new();
        let mut pending = direct.get(index).cloned().unwrap_or_default();
        while let Some(next) = pending.pop() {
            if all.insert(next) {
                pending.extend(direct.get(next).into_iter().flatten());
            }
        }
        let mut all: Vec<usize> = all.into_iter().collect();
        all.sort_by_key(rank);
        let paths = all.iter().filter_map(|&index| modules.get(index)).map(|m| format!(" {}", m.path));
        let line = format!("{}:{}", module.path, paths.collect::<String>());
        trie.insert(&module.name, &line, priority(index));
        text.push_str(&line);
        text.push('\n');
    }
    (text, trie.write())
}

/// depmod's topological order: modules nobody uses from a stack, the last first; then what loses its last user.
fn ranks(direct: &[Vec<usize>]) -> Vec<usize> {
    let mut users = vec![0usize; direct.len()];
    for &index in direct.iter().flatten() {
        if let Some(count) = users.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }
    let mut roots: Vec<usize> =
        users.iter().zip(0..).filter(|(count, _)| **count == 0).map(|(_, i)| i).collect();
    let mut ranks = vec![usize::MAX; direct.len()];
    let mut next = 0usize;
    while let Some(root) = roots.pop() {
        if let Some(rank) = ranks.get_mut(root) {
            *rank = next;
        }
        next = next.saturating_add(1);
        for &used in direct.get(root).into_iter().flatten() {
            if let Some(count) = users.get_mut(used) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    roots.push(used);
                }
            }
        }
    }
    ranks
}

fn aliases(modules: &[&Module]) -> (String, Vec<u8>) {
    let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
    let mut trie = Trie::default();
    for (index, module) in modules.iter().enumerate() {
        for alias in module.info.aliases() {
            let Some(normal) = normal_alias(alias) else { continue };
            text.push_str(&format!("alias {alias} {}\n", module.name));
            trie.insert(&normal, &module.name, priority(index));
        }
    }
    (text, trie.write())
}

/// `_` for `-` outside brackets; `None` for one whose brackets do not match.
fn normal_alias(alias: &str) -> Option<String> {
    let mut inside = false;
    let mut out = String::with_capacity(alias.len());
    for c in alias.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ']' => return None,
            _ => {}
        }
        out.push(if c == '-' && !inside { '_' } else { c });
    }
    (!inside).then_some(out)
}

fn symbols(modules: &[&Module]) -> (String, Vec<u8>) {
    // The first module by order owns a symbol.
    let mut owners: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (index, module) in modules.iter().enumerate() {
        for symbol in module.info.exports() {
            owners.entry(symbol).or_insert((index, &module.name));
        }
    }
    let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
    let mut trie = Trie::default();
    for (symbol, (index, owner)) in owners {
        text.push_str(&format!("alias symbol:{symbol} {owner}\n"));
        trie.insert(&format!("symbol:{symbol}"), owner, priority(index));
    }
    (text, trie.write())
}

fn soft_dependencies(modules: &[&Module]) -> String {
    let mut text = "# Soft dependencies extracted from modules themselves.\n".to_owned();
    for module in modules {
        for softdep in module.info.values("softdep") {
            text.push_str(&format!("softdep {} {softdep}\n", module.name));
        }
    }
    text
}

/// `MODULE NAME TYPE MAJOR:MINOR` for device nodes that load their module when they are opened.
fn device_names(modules: &[&Module]) -> String {
    let mut text = String::new();
    for module in modules {
        let mut name = None;
        let mut number = None;
        for alias in module.info.aliases() {
            if let Some(devname) = alias.strip_prefix("devname:") {
                name = Some(devname);
            }
            for (prefix, kind) in [("char-major-", 'c'), ("block-major-", 'b')] {
                let digits = alias.strip_prefix(prefix).and_then(|rest| rest.split_once('-'));
                if let Some((major, minor)) = digits
                    && let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>())
                {
                    number = Some((kind, major, minor));
                }
            }
            if name.is_some() && number.is_some() {
                break;
            }
        }
        if let (Some(name), Some((kind, major, minor))) = (name, number) {
            text.push_str(&format!("{} {name} {kind}{major}:{minor}\n", module.name));
        }
    }
    if !text.is_empty() {
        text.insert_str(0, "# Device nodes to trigger on-demand module loading.\n");
    }
    text
}

fn builtin_bin(paths: &[&str]) -> Vec<u8> {
    let mut trie = Trie::default();
    for name in paths.iter().filter_map(|path| super::name_of_path(path.trim())) {
        trie.insert(&name, "", 0);
    }
    trie.write()
}

fn builtin_alias_bin(modinfo: &[u8]) -> Vec<u8> {
    let mut trie = Trie::default();
    for record in modinfo.split(|&b| b == 0) {
        let text = String::from_utf8_lossy(record);
        let Some((key, value)) = text.split_once('=') else { continue };
        if let Some(name) = key.strip_suffix(".alias")
            && let Some(alias) = normal_alias(value)
        {
            trie.insert(&alias, &normal(name), 0);
        }
    }
    trie.write()
}
