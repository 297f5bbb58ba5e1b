//! Who asks a registry: credentials of a file, and what a registry's `WWW-Authenticate` wants (RFC 9110, section 11.6.1;
//! distribution specification, "Token Authentication").
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A user and what only they know.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    user: String,
    password: String,
}

/// The credentials of a file as `podman login --authfile` and `docker login` write it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// By registry, or by registry and the beginning of a repository's name.
    by_place: BTreeMap<String, Secret>,
}

/// A file of credentials that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; `podman login --authfile FILE REGISTRY` writes such a file")]
pub struct BadCredentials(String);

/// What the file has for a place.
#[derive(Debug, Clone)]
pub(super) enum Secret {
    Known(Credential),
    /// What would have to be asked, which nothing here does.
    Elsewhere(String),
}

impl Credentials {
    /// Reads the text of such a file. What it has is used for the registries that it names and for no other.
    ///
    /// # Errors
    /// A text that is no such file; nothing of it is shown.
    pub fn parse(text: &[u8]) -> Result<Self, BadCredentials> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            auths: BTreeMap<String, Entry>,
            #[serde(default, rename = "credHelpers")]
            helpers: BTreeMap<String, String>,
            #[serde(default, rename = "credsStore")]
            store: Option<String>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            auth: Option<String>,
            #[serde(default)]
            identitytoken: Option<String>,
        }
        // The error's own words may quote what is secret.
        let file: File = serde_json::from_slice(text).map_err(|error| {
            BadCredentials(format!("line {} is no part of a file of credentials", error.line()))
        })?;
        let mut by_place = BTreeMap::new();
        for (key, entry) in file.auths {
            let place = place(&key);
            let secret = match (entry.auth.filter(|auth| !auth.is_empty()), entry.identitytoken, &file.store)
            {
                (_, Some(token), _) if !token.is_empty() => Secret::Elsewhere(
                    "it has an identity token, which is not used: log in with a password".to_owned(),
                ),
                (Some(auth), _, _) => Secret::Known(Credential::decode(&auth).ok_or_else(|| {
                    BadCredentials(format!(
                        "`auth` of {} is no USER:PASSWORD in base64",
                        place.escape_debug()
                    ))
                })?),
                (None, _, Some(store)) => Secret::Elsewhere(asked_elsewhere(store)),
                (None, _, None) => continue,
            };
            by_place.insert(place, secret);
        }
        for (key, helper) in file.helpers {
            by_place.entry(place(&key)).or_insert(Secret::Elsewhere(asked_elsewhere(&helper)));
        }
        Ok(Self { by_place })
    }

    /// What there is for a repository: the entry that names most of it.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Option<&Secret> {
        let mut name = format!("{registry}/{repository}");
        loop {
            if let Some(secret) = self.by_place.get(&name) {
                return Some(secret);
            }
            let end = name.rfind('/')?;
            name.truncate(end);
        }
    }
}

fn asked_elsewhere(helper: &str) -> String {
    let helper = helper.escape_debug();
    format!(
        "its password is kept by docker-credential-{helper}, which is not run: write a file with the password"
    )
}

/// `docker login` writes addresses, and Docker's own hub by the name it had in 2014.
fn place(key: &str) -> String {
    let place = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let place = place.trim_end_matches('/');
    let place = place.strip_suffix("/v1").or_else(|| place.strip_suffix("/v2")).unwrap_or(place);
    match place {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

impl Credential {
    fn decode(auth: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        // `docker login` pads with NUL.
        let password = password.trim_end_matches('\0');
        let plain = |text: &str| !text.chars().any(char::is_control);
        (plain(user) && plain(password))
            .then(|| Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    pub(super) scheme: String,
    /// Names in lower case.
    pub(super) parameters: BTreeMap<String, String>,
}

/// The challenges of one `WWW-Authenticate`; what is no challenge is passed over.
pub(super) fn challenges(header: &str) -> Vec<Challenge> {
    let mut all: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        rest = match after.strip_prefix('=') {
            // `name=value`, of the challenge before.
            Some(after) if !word.is_empty() => {
                let (value, after) = value(after.trim_start());
                if let Some(challenge) = all.last_mut() {
                    challenge.parameters.insert(word.to_ascii_lowercase(), value);
                }
                after
            }
            Some(after) => after,
            None => {
                if !word.is_empty() {
                    let parameters = BTreeMap::new();
                    all.push(Challenge { scheme: word.to_ascii_lowercase(), parameters });
                }
                after
            }
        };
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    all
}

/// A token or a quoted text, and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((_, character)) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn challenges_as_registries_write_them() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let expected = parameters(&[
            ("realm", "https://auth.example/token"),
            ("service", "registry.example"),
            ("scope", "repository:a/b:pull,push"),
        ]);
        assert_eq!(challenges(bearer), [Challenge { scheme: "bearer".into(), parameters: expected }]);
        let both = challenges(r#"Negotiate, BASIC Realm = "a \"b\"" , charset=UTF-8, bearer realm=x"#);
        let schemes: Vec<&str> = both.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        let basic = both.into_iter().nth(1).unwrap();
        assert_eq!(basic.parameters, parameters(&[("realm", "a \"b\""), ("charset", "UTF-8")]));
        for odd in ["", ",,,", "=", "=\"", "Basic realm=\"", "\u{e9}=", "Basic realm=\"\\"] {
            challenges(odd);
        }
    }

    #[test]
    fn the_entry_that_names_most_of_a_repository_is_taken() {
        let secret = |text: &str| STANDARD.encode(text);
        let file = format!(
            r#"{{"auths": {{"r.example": {{"auth": "{}"}}, "r.example/team": {{"auth": "{}"}},
                "https://index.docker.io/v1/": {{"auth": "{}"}}, "empty.example": {{}}}},
                "credHelpers": {{"cloud.example": "ecr-login"}}}}"#,
            secret("all:1"),
            secret("team:2:3"),
            secret("hub:4"),
        );
        let credentials = Credentials::parse(file.as_bytes()).unwrap();
        let user = |registry: &str, repository: &str| match credentials.find(registry, repository) {
            Some(Secret::Known(known)) => format!("{}/{}", known.user, known.password),
            Some(Secret::Elsewhere(why)) => why.clone(),
            None => "nobody".to_owned(),
        };
        assert_eq!(user("r.example", "other/a"), "all/1");
        assert_eq!(user("r.example", "team/a"), "team/2:3");
        assert_eq!(user("r.example", "teammates/a"), "all/1");
        assert_eq!(user("docker.io", "library/debian"), "hub/4");
        assert_eq!(user("empty.example", "a"), "nobody");
        assert_eq!(user("r.example.evil", "a"), "nobody");
        assert!(user("cloud.example", "a").contains("docker-credential-ecr-login"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let file =
            format!(r#"{{"auths": {{"r.example": {{"auth": "{}"}}}}}}"#, STANDARD.encode("me:hunter2"));
        let shown = format!("{:?}", Credentials::parse(file.as_bytes()).unwrap());
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
        for bad in [r#"{"auths": {"r.example": {"auth": "hunter2"}}}"#, r#"{"auths": "hunter2"}"#, "hunter2"]
        {
            let error = Credentials::parse(bad.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
