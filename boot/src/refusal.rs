//! Refusals: what the builder does not take, each with a name by which a recipe can accept it, with a reason.

use std::collections::BTreeMap;
use std::fmt;

/// A reason not to build with this kernel or firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its stable name, by which a recipe accepts it.
    pub name: &'static str,
    /// What could not be enforced, and what was found.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.name, self.why, self.remedy)
    }
}

/// A refusal that the recipe accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What was refused.
    pub refusal: Refusal,
    /// Why the recipe takes it all the same.
    pub reason: String,
}

/// Refusals after the recipe's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// These stop the build.
    pub remaining: Vec<Refusal>,
    /// These are recorded with their reasons.
    pub accepted: Vec<Accepted>,
    /// Accepted names that nothing gives occasion for: the recipe must drop them, or one day they hide something.
    pub idle: Vec<&'static str>,
}

/// A recipe accepts what cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// No refusal is called that.
    #[error("no refusal is called '{name}'; did you mean '{nearest}'?")]
    Unknown {
        /// As written.
        name: String,
        /// The most similar one.
        nearest: &'static str,
    },
    /// A reason of blanks.
    #[error("'{name}' is accepted without a reason: say in a sentence why it is safe here")]
    NoReason {
        /// As written.
        name: String,
    },
}

/// Takes from `refusals` what the recipe accepts by name, one of `names`; `accepted` maps names to reasons.
pub(crate) fn accept(
    names: &[&'static str],
    refusals: Vec<Refusal>,
    accepted: &BTreeMap<String, String>,
) -> Result<Judged, AcceptError> {
    let mut judged = Judged::default();
    for (name, reason) in accepted {
        let names = || names.iter().copied();
        let Some(known) = names().find(|known| known == name) else {
            let nearest = names().min_by_key(|known| distance(name, known)).unwrap_or_default();
            return Err(AcceptError::Unknown { name: name.clone(), nearest });
        };
        if reason.trim().is_empty() {
            return Err(AcceptError::NoReason { name: name.clone() });
        }
        if !refusals.iter().any(|refusal| refusal.name == known) {
            judged.idle.push(known);
        }
    }
    for refusal in refusals {
        match accepted.get(refusal.name) {
            Some(reason) => judged.accepted.push(Accepted { refusal, reason: reason.clone() }),
            None => judged.remaining.push(refusal),
        }
    }
    Ok(judged)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let substituted = diagonal.saturating_add(usize::from(x != y));
            diagonal = *cell;
            left = substituted.min(left.saturating_add(1)).min(cell.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
