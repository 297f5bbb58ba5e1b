//! Several packages into one tree, with `dpkg`'s word on files that two of them bring.

use std::collections::HashMap;

use debversion::Version;
use graven_image::tree::Tree;

use super::{Control, Package};
use crate::{Error, Problem};

/// Puts the packages into the tree. Where two bring one file, one of them must say that it `Replaces` the other, and its
/// file is the one that stays, whatever the order.
///
/// # Errors
/// [`Problem::InTwoPackages`], [`Problem::Damaged`] for a `Replaces` that cannot be read, and
/// [`Layer::apply`](crate::Layer::apply)'s.
pub fn unpack(packages: Vec<Package>, tree: &mut Tree) -> Result<(), Error> {
    let mut waiting = packages
        .into_iter()
        .map(|package| match replaces(&package.control) {
            Ok(replaces) => Ok((package, replaces)),
            Err(problem) => Err(Error { input: package.layer.input, member: None, problem }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut unpacked: HashMap<String, Control> = HashMap::new();
    while !waiting.is_empty() {
        // What is replaced goes first; where two replace each other, the first given.
        let free = waiting.iter().position(|(package, replaces)| {
            let others = waiting.iter().map(|(other, _)| &other.control);
            let mut others = others.filter(|other| other.package() != package.control.package());
            !others.any(|other| replaces.iter().any(|relation| relation.means(other)))
        });
        let (package, replaces) = waiting.remove(free.unwrap_or_default());
        let input = package.layer.input.clone();
        for replaced in package.layer.apply(tree)? {
            let Some((origin, earlier)) =
                replaced.earlier.and_then(|origin| unpacked.get_key_value(&*origin))
            else {
                continue;
            };
            if !replaces.iter().any(|relation| relation.means(earlier)) {
                let problem = Problem::InTwoPackages { earlier: origin.clone() };
                return Err(Error { input, member: Some(replaced.path.to_string()), problem });
            }
        }
        unpacked
            .insert(format!("{}={}", package.control.package(), package.control.version()), package.control);
    }
    Ok(())
}

/// One alternative of a field like `Replaces`: `name`, or `name (<< version)`.
#[derive(Debug, PartialEq, Eq)]
struct Relation {
    name: String,
    version: Option<(Comparison, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Relation {
    /// `name[:arch] [(comparison version)]`, as deb-control(5) has it.
    fn parse(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let inside = rest.trim_end().strip_suffix(')')?.trim();
                let operator = inside.len() - inside.trim_start_matches(['<', '=', '>']).len();
                let (operator, version) = inside.split_at(operator);
                let comparison = match operator {
                    "<<" => Comparison::Earlier,
                    "<=" | "<" => Comparison::EarlierOrEqual,
                    "=" => Comparison::Equal,
                    ">=" | ">" => Comparison::LaterOrEqual,
                    ">>" => Comparison::Later,
                    _ => return None,
                };
                (name, Some((comparison, version.trim().parse().ok()?)))
            }
        };
        let name = name.trim();
        let name = name.split_once(':').map_or(name, |(name, _architecture)| name);
        let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '|');
        is_name.then(|| Self { name: name.to_owned(), version })
    }

    fn means(&self, other: &Control) -> bool {
        let Some((comparison, version)) = &self.version else { return self.name == other.package() };
        let Ok(found) = other.version().parse::<Version>() else { return false };
        let order = found.cmp(version);
        self.name == other.package()
            && match comparison {
                Comparison::Earlier => order.is_lt(),
                Comparison::EarlierOrEqual => order.is_le(),
                Comparison::Equal => order.is_eq(),
                Comparison::LaterOrEqual => order.is_ge(),
                Comparison::Later => order.is_gt(),
            }
    }
}

fn replaces(control: &Control) -> Result<Vec<Relation>, Problem> {
    let field = control.field("Replaces").unwrap_or_default();
    let relations = field.split(',').map(str::trim).filter(|relation| !relation.is_empty());
    relations
        .map(|text| {
            let bad = || {
                Problem::Damaged(format!("its `Replaces` has `{text}`, which is no `package (<< version)`"))
            };
            Relation::parse(text).ok_or_else(bad)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(package: &str, version: &str) -> Control {
        let text = format!("Package: {package}\nVersion: {version}\nArchitecture: all\n");
        Control::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_relation_means_a_package_by_name_and_version() {
        let means = |text: &str, package: &str, version: &str| {
            Relation::parse(text).unwrap().means(&control(package, version))
        };
        assert!(means("acme", "acme", "1"));
        assert!(means("acme:any", "acme", "1"));
        assert!(!means("acme", "other", "1"));
        assert!(means("acme (<< 1:2.0-1~)", "acme", "1:2.0-1~~"));
        assert!(!means("acme (<<1:2.0-1~)", "acme", "1:2.0-1"));
        assert!(means("acme (<= 2)", "acme", "2") && means("acme (>= 2)", "acme", "2"));
        assert!(means("acme (= 2)", "acme", "2") && !means("acme (>> 2)", "acme", "2"));
        for text in ["", "acme (2)", "acme (<< )", "acme (<< 2", "a | b", "a b"] {
            assert_eq!(Relation::parse(text), None, "{text}");
        }
    }
}
