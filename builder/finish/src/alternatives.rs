//! Alternatives: what `update-alternatives --install` leaves behind.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::world::World;

/// One way to have a name, with what goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative {
    link: String,
    name: String,
    path: String,
    priority: i64,
    slaves: Vec<Slave>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slave {
    link: String,
    name: String,
    path: String,
}

impl Alternative {
    /// `LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let (head, mut rest) = words.split_at_checked(4)?;
        let [link, name, path, priority] = head else { return None };
        let mut slaves = Vec::new();
        while let [first, after @ ..] = rest {
            let (slave, later) = after.split_at_checked(3).filter(|_| *first == "--slave")?;
            let [link, name, path] = slave else { return None };
            let text = |word: &&str| (*word).to_owned();
            slaves.push(Slave { link: text(link), name: text(name), path: text(path) });
            rest = later;
        }
        let absolute = link.starts_with('/') && path.starts_with('/');
        absolute.then_some(())?;
        Some(Self {
            link: (*link).to_owned(),
            name: (*name).to_owned(),
            path: (*path).to_owned(),
            priority: priority.parse().ok()?,
            slaves,
        })
    }
}

impl World<'_> {
    /// The links of each name's best alternative, and `dpkg`'s note of all of them.
    pub(crate) fn install_alternatives(&mut self) -> Result<(), Error> {
        let mut groups: BTreeMap<String, Vec<Alternative>> = BTreeMap::new();
        for alternative in std::mem::take(&mut self.alternatives) {
            // One whose file was left out of the image is none.
            if self.find(&alternative.path).is_some() {
                groups.entry(alternative.name.clone()).or_default().push(alternative);
            }
        }
        for (name, mut group) in groups {
            group.sort_by(|one, other| one.path.cmp(&other.path));
            group.dedup_by(|one, other| one.path == other.path);
            // The highest priority; of equal ones, the first by name, so that no order of packages decides.
            let Some(best) = group.iter().rev().max_by_key(|alternative| alternative.priority) else {
                continue;
            };
            let links = std::iter::once((&best.link, &best.name, &best.path))
                .chain(best.slaves.iter().map(|slave| (&slave.link, &slave.name, &slave.path)));
            for (link, name, path) in
                links.map(|(a, b, c)| (a.clone(), b.clone(), c.clone())).collect::<Vec<_>>()
            {
                let parent = link.rsplit_once('/').map_or("/", |(parent, _)| parent);
                // Manual pages and what else the image does not carry.
                if self.find(&path).is_none() || self.find(parent).is_none() {
                    continue;
                }
                self.link(&format!("/etc/alternatives/{name}"), &path)?;
                if !self.has(&link) || self.link_target(&link).is_some() {
                    self.link(&link, &format!("/etc/alternatives/{name}"))?;
                }
            }
            self.note_alternative(&name, &group)?;
        }
        Ok(())
    }

    /// `/var/lib/dpkg/alternatives/NAME`
    fn note_alternative(&mut self, name: &str, group: &[Alternative]) -> Result<(), Error> {
        let mut slaves: BTreeMap<&str, &str> = BTreeMap::new();
        for slave in group.iter().flat_map(|alternative| &alternative.slaves) {
            slaves.insert(&slave.name, &slave.link);
        }
        let link = group.first().map_or("", |first| first.link.as_str());
        let mut text = format!("auto\n{link}\n");
        for (name, link) in &slaves {
            text.push_str(&format!("{name}\n{link}\n"));
        }
        text.push('\n');
        for alternative in group {
            text.push_str(&format!("{}\n{}\n", alternative.path, alternative.priority));
            for name in slaves.keys() {
                let path = alternative.slaves.iter().find(|slave| slave.name == *name);
                text.push_str(&format!("{}\n", path.map_or("", |slave| slave.path.as_str())));
            }
        }
        text.push('\n');
        self.write(&format!("/var/lib/dpkg/alternatives/{name}"), text, 0o644)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Alternative;

    #[test]
    fn an_alternative_is_four_words_and_slaves_of_three() {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        let parsed =
            Alternative::parse(&words("/usr/bin/pager pager /bin/more 50 --slave /m/p p /m/more")).unwrap();
        assert_eq!((parsed.priority, parsed.slaves.len()), (50, 1));
        for bad in
            ["", "/a b /c", "/a b /c x", "a b /c 5", "/a b /c 5 --slave /d e", "/a b /c 5 --other /d e f"]
        {
            assert_eq!(Alternative::parse(&words(bad)), None, "{bad}");
        }
    }
}
