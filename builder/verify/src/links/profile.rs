//! Release or development; and who vouches for what.

use graven_boot::x509::Certificate;

use super::{named, shown};
use crate::artefact::Artefact;
use crate::prove::Options;
use crate::report::Report;
use crate::trust::{Role, Trust};

/// The certificates behind the signatures, where they hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signers {
    pub(crate) boot: Option<Certificate>,
    pub(crate) policy: Option<Certificate>,
    pub(crate) root: Option<Certificate>,
    /// Of each volume's root hash.
    pub(crate) volumes: Vec<Option<Certificate>>,
}

impl Signers {
    fn iter(&self) -> impl Iterator<Item = (Role, &Certificate)> {
        let all = [(Role::Boot, &self.boot), (Role::Policy, &self.policy), (Role::Root, &self.root)];
        let volumes = self.volumes.iter().map(|signer| (Role::Root, signer));
        all.into_iter().chain(volumes).filter_map(|(role, certificate)| Some((role, certificate.as_ref()?)))
    }
}

/// What an image says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Profile {
    Release,
    Development,
    Unknown(String),
}

impl Profile {
    /// What the boot artefact says: `VARIANT_ID` of a UKI's os-release, the end of a FIT's description.
    pub(crate) fn of(boot: &Artefact<'_>) -> Self {
        match boot.profiles.as_slice() {
            [one] if one == "release" => Self::Release,
            [one] if one == "development" => Self::Development,
            [] => Self::Unknown("none".to_owned()),
            other => Self::Unknown(shown(&other.join(", "))),
        }
    }
}

/// A release by release keys, unless development is allowed.
pub(crate) fn profile(
    boot: &Artefact<'_>,
    signers: &Signers,
    options: &Options<'_>,
    report: &mut Report,
) -> Option<()> {
    const LINK: &str = "profile";
    let (mut problems, mut details) = (Vec::new(), Vec::new());
    let mut development = |what: String| match options.allow_development {
        true => details.push(what),
        false => problems.push(what),
    };
    let mut unknown = None;
    match Profile::of(boot) {
        Profile::Release => {}
        Profile::Development => development("this is a development image".to_owned()),
        Profile::Unknown(found) => {
            unknown =
                Some(format!("the boot artefact names its profile, release or development; found {found}"));
        }
    }
    let mut by_development: Vec<(&Certificate, Vec<String>)> = Vec::new();
    for (role, certificate) in signers.iter().filter(|(_, certificate)| certificate.is_development()) {
        match by_development.iter_mut().find(|(known, _)| *known == certificate) {
            Some((_, roles)) if roles.contains(&role.to_string()) => {}
            Some((_, roles)) => roles.push(role.to_string()),
            None => by_development.push((certificate, vec![role.to_string()])),
        }
    }
    for (certificate, roles) in by_development {
        development(format!("the development key {} signs {}", named(certificate), roles.join(", ")));
    }
    problems.extend(unknown);
    if !problems.is_empty() && !options.allow_development {
        let fixable =
            Profile::of(boot) == Profile::Development || signers.iter().any(|(_, c)| c.is_development());
        if fixable {
            problems.push("--allow-development takes it".to_owned());
        }
    }
    let detail = match details.is_empty() {
        true => "a release".to_owned(),
        false => format!("DEVELOPMENT, as allowed: {}", details.join(", ")),
    };
    report.judge(LINK, &problems, detail);
    Some(())
}

/// Each signature is by a certificate that may vouch for just that.
pub(crate) fn certificate_roles(signers: &Signers, trust: &Trust, report: &mut Report) {
    const LINK: &str = "certificate-roles";
    let mut problems = Vec::new();
    for (role, certificate) in signers.iter().filter(|(role, certificate)| !trust.allows(certificate, *role))
    {
        let (name, roles) = (named(certificate), trust.roles_of(certificate));
        problems.push(format!("{role} is signed by {name}, which is trusted for {roles} only"));
    }
    let (proved, all) = (signers.iter().count(), Role::ALL.len().saturating_add(signers.volumes.len()));
    if problems.is_empty() && proved < all {
        report.unproved(LINK, format!("{proved} of {all} signatures hold"));
    } else {
        report.judge(LINK, &problems, "each signature is by a certificate that is trusted for it");
    }
}
