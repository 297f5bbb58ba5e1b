//! What a proof found: one line for each link of the chain, then one verdict.

use std::borrow::Cow;
use std::fmt;

use graven_boot::x509::Certificate;
use graven_handoff::hex;
use serde::Serialize;

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Proved.
    Ok,
    /// Cannot be judged from the image; never to be read as ok.
    Unproved,
    /// Broken.
    Bad,
}

/// One link of the chain, or one finding beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Stable name: a kind in kebab-case, `boot-signature`, `command-line` …; of a volume's with the volume before it, as
    /// `volume shop: tree`.
    pub name: Cow<'static, str>,
    /// How it stands.
    pub state: State,
    /// What was proved; or what was expected, what was found, and where.
    pub detail: String,
}

impl Link {
    /// The name without what it is a link of.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.name.rsplit_once(": ").map_or(&self.name, |(_, kind)| kind)
    }
}

/// A trusted certificate, and the signatures that it stands behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    /// The certificate.
    pub certificate: Certificate,
    /// The names of the links that it vouches for, in the report's order.
    pub links: Vec<Cow<'static, str>>,
}

/// Every link that could be looked at, in the order in which a machine would meet them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The links.
    pub links: Vec<Link>,
    /// Who vouches for what, as far as it is proved.
    pub vouchers: Vec<Voucher>,
}

impl Report {
    /// A link that holds.
    pub fn ok(&mut self, name: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.add(name, State::Ok, detail);
    }

    /// A link that cannot be judged.
    pub fn unproved(&mut self, name: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.add(name, State::Unproved, detail);
    }

    /// A link that is broken.
    pub fn bad(&mut self, name: impl Into<Cow<'static, str>>, detail: impl Into<String>) {
        self.add(name, State::Bad, detail);
    }

    /// A link that is broken if there are problems, and holds otherwise.
    pub(crate) fn judge(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        problems: &[String],
        detail: impl Into<String>,
    ) {
        if problems.is_empty() {
            self.ok(name, detail);
        } else {
            self.bad(name, problems.join("; "));
        }
    }

    /// The link of that name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    fn add(&mut self, name: impl Into<Cow<'static, str>>, state: State, detail: impl Into<String>) {
        self.links.push(Link { name: name.into(), state, detail: detail.into() });
    }

    /// The certificate vouches for the link.
    pub(crate) fn vouch(&mut self, link: impl Into<Cow<'static, str>>, certificate: &Certificate) {
        let link = link.into();
        match self.vouchers.iter_mut().find(|known| known.certificate == *certificate) {
            Some(known) => known.links.push(link),
            None => self.vouchers.push(Voucher { certificate: certificate.clone(), links: vec![link] }),
        }
    }

    /// The worst state of all links; an empty report proves nothing.
    #[must_use]
    pub fn verdict(&self) -> State {
        self.links.iter().map(|link| link.state).max().unwrap_or(State::Unproved)
    }

    /// The links in that state.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.state == state)
    }
}

impl fmt::Display for Report {
    /// A line a link, a line a signer, then the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.links {
            let mark = match link.state {
                State::Ok => "ok      ",
                State::Unproved => "unproved",
                State::Bad => "BAD     ",
            };
            writeln!(f, "{mark}  {:<20} {}", link.name, link.detail)?;
        }
        for voucher in &self.vouchers {
            writeln!(f, "signer    {voucher}")?;
        }
        let count = |state| self.in_state(state).count();
        match self.verdict() {
            State::Ok => write!(f, "PROVED: all {} links hold", self.links.len()),
            State::Unproved if self.links.is_empty() => write!(f, "NOT PROVED: nothing could be looked at"),
            State::Unproved => {
                write!(f, "NOT PROVED: {} of {} links unproved", count(State::Unproved), self.links.len())
            }
            State::Bad => write!(f, "BAD: {} of {} links broken", count(State::Bad), self.links.len()),
        }
    }
}

impl fmt::Display for Voucher {
    /// `«CN=acme db», key id 6f2c…, until 2031-05-01T00:00:00Z: boot-signature, policy-signature`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, until) = self.certificate.dates();
        write!(f, "«{}», ", self.certificate.subject())?;
        if let Some(id) = self.certificate.subject_key_id() {
            write!(f, "key id {}, ", hex::encode(&id))?;
        }
        write!(f, "until {until}: {}", self.links.join(", "))
    }
}
