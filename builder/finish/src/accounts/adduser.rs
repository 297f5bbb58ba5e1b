//! `adduser --system`, `addgroup`, `useradd`, `groupadd`: as scripts of packages call them.

use graven_image::tree::{Inode, Kind, TreePath};

use super::{Search, User};
use crate::world::World;

/// Options that are followed by a value, long ones also with `=`.
const WITH_VALUE: [&str; 17] = [
    "--home",
    "--home-dir",
    "--shell",
    "--gecos",
    "--comment",
    "--ingroup",
    "--gid",
    "--uid",
    "--firstuid",
    "--lastuid",
    "--groups",
    "-d",
    "-s",
    "-c",
    "-g",
    "-u",
    "-G",
];
/// Options without a value that change nothing here: no password is ever asked for, and names are as they are.
const WITHOUT_MEANING: [&str; 10] = [
    "--quiet",
    "--disabled-password",
    "--disabled-login",
    "--force-badname",
    "--allow-bad-names",
    "--allow-badname",
    "--allow-all-names",
    "-M",
    "-f",
    "--force",
];

#[derive(Default)]
struct Asked {
    system: bool,
    group: bool,
    append: bool,
    create_home: Option<bool>,
    values: Vec<(String, String)>,
    names: Vec<String>,
}

impl Asked {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (*word, None),
            };
            match option {
                "--system" | "-r" => asked.system = true,
                "--group" | "--user-group" | "-U" => asked.group = true,
                "--append" | "-a" => asked.append = true,
                "-aG" => {
                    asked.append = true;
                    let groups = words.next().unwrap_or(&"");
                    asked.values.push(("--groups".into(), (*groups).to_owned()));
                }
                "--no-create-home" => asked.create_home = Some(false),
                "--create-home" | "-m" => asked.create_home = Some(true),
                option if WITHOUT_MEANING.contains(&option) => {}
                option if WITH_VALUE.contains(&option) => {
                    let value = value.or_else(|| words.next().copied()).unwrap_or_default();
                    asked.values.push((option.to_owned(), value.to_owned()));
                }
                option if option.starts_with('-') => return Err(format!("the option `{option}`")),
                name => asked.names.push(name.to_owned()),
            }
        }
        Ok(asked)
    }

    fn value(&self, names: &[&str]) -> Option<&str> {
        let mut found = self.values.iter().filter(|(name, _)| names.contains(&name.as_str()));
        found.next_back().map(|(_, value)| value.as_str())
    }

    fn number(&self, names: &[&str]) -> Result<Option<u32>, String> {
        match self.value(names) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("the number `{text}`")),
        }
    }
}

/// Does what the command says; else answers what of it is not known.
pub(crate) fn command(name: &str, words: &[&str], world: &mut World<'_>) -> Result<(), String> {
    let asked = Asked::parse(words)?;
    let shown = || format!("`{name} {}`", words.join(" "));
    match (name, asked.names.as_slice()) {
        ("adduser", [user, group]) if !asked.system => member(user, group, world),
        ("usermod", [user]) if asked.append => match asked.value(&["-G", "--groups"]) {
            Some(groups) => groups.split(',').try_for_each(|group| member(user, group, world)),
            None => Err(shown()),
        },
        // A person is made by the recipe, not by a package.
        ("adduser", [user]) if asked.system => add(user, &asked, Search::Up, world),
        ("useradd", [user]) if asked.system => add(user, &asked, Search::Down, world),
        ("addgroup", [group]) if asked.system => group_alone(group, &asked, Search::Up, world),
        ("groupadd", [group]) if asked.system || asked.value(&["-g", "--gid"]).is_some() => {
            group_alone(group, &asked, Search::Down, world)
        }
        _ => Err(shown()),
    }
}

fn member(user: &str, group: &str, world: &mut World<'_>) -> Result<(), String> {
    match world.accounts.add_member(user, group) {
        true => Ok(()),
        false => Err(format!("the group `{group}`, which nobody has made")),
    }
}

fn group_alone(group: &str, asked: &Asked, search: Search, world: &mut World<'_>) -> Result<(), String> {
    let gid = asked.number(&["--gid", "-g"])?;
    world.accounts.add_group(group, gid, search).map(|_| ()).map_err(|error| error.to_string())
}

fn add(name: &str, asked: &Asked, search: Search, world: &mut World<'_>) -> Result<(), String> {
    if world.accounts.uid(name).is_some() {
        return Ok(());
    }
    let said = |error: crate::Error| error.to_string();
    let gid = match asked.value(&["--ingroup", "--gid", "-g"]) {
        Some(group) => {
            let known = world.accounts.gid(group).or_else(|| group.parse().ok());
            known.ok_or_else(|| format!("the group `{group}`, which nobody has made"))?
        }
        None if asked.group || matches!(search, Search::Down) => {
            world.accounts.add_group(name, None, search).map_err(said)?
        }
        None => world.accounts.gid("nogroup").unwrap_or(65534),
    };
    let home = asked.value(&["--home", "--home-dir", "-d"]).unwrap_or("/nonexistent").to_owned();
    let day = world.time.div_euclid(86400);
    let user = User {
        name: name.to_owned(),
        uid: 0,
        gid,
        comment: asked.value(&["--gecos", "--comment", "-c"]).unwrap_or_default().to_owned(),
        home: home.clone(),
        shell: asked.value(&["--shell", "-s"]).unwrap_or("/usr/sbin/nologin").to_owned(),
        shadow: format!("!:{day}::::::"),
    };
    let uid = asked.number(&["--uid", "-u"])?;
    let uid = world.accounts.add_user(user, uid, search).map_err(said)?;
    let create = asked.create_home.unwrap_or(matches!(search, Search::Up)) && home != "/nonexistent";
    if create && world.find(&home).is_none() {
        let path = TreePath::parse(home.as_bytes()).map_err(|error| error.to_string())?;
        let metadata = graven_image::tree::Metadata { uid, gid, ..world.metadata(0o755) };
        let above = world.metadata(0o755);
        let made = path.parent().map_or(Ok(graven_image::tree::Tree::ROOT), |parent| {
            world.tree.make_directories(&parent, &above)
        });
        made.and_then(|_| world.tree.insert(&path, Inode::new(metadata, Kind::directory())))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
