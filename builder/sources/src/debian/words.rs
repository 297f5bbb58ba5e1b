//! What is asked for and not there, and what cannot be together, in words.

use resolvo::conflict::{ConflictCause, ConflictEdge, ConflictGraph, ConflictNode};

use super::solve::{Facts, Request};
use super::universe::{Candidate, Universe};
use super::{Architecture, Error};

/// Facts of a conflict that are told.
const MOST: usize = 12;
/// Names that are offered for one that does not exist.
const NEAREST: usize = 3;

/// A request as the recipe writes it.
pub(super) fn show(request: &Request) -> String {
    let mut text = request.name.clone();
    if let Some(architecture) = &request.architecture {
        text.push_str(&format!(":{architecture}"));
    }
    if let Some(version) = &request.version {
        text.push_str(&format!("={version}"));
    }
    if let Some(suite) = &request.suite {
        text.push_str(&format!("/{suite}"));
    }
    text
}

/// `name version`, with its architecture where that is not the machine's.
pub(super) fn package(candidate: &Candidate, native: &Architecture) -> String {
    let name = &candidate.record.name;
    match candidate.architecture == *native {
        true => format!("{name} {}", candidate.record.version),
        false => format!("{name}:{} {}", candidate.architecture, candidate.record.version),
    }
}

/// The versions that a request means, best first.
pub(super) fn asked_for(universe: &Universe, request: &Request) -> Result<Vec<Candidate>, Error> {
    let architecture = request.architecture.as_ref().unwrap_or_else(|| universe.native());
    let fits = |candidate: &Candidate| {
        let version = request.version.as_ref();
        candidate.architecture == *architecture
            && version.is_none_or(|pattern| glob(pattern, &candidate.record.version.to_string()))
            && request.suite.as_ref().is_none_or(|suite| candidate.origin.suite == *suite)
    };
    let called = universe.called(&request.name)?;
    let fitting: Vec<Candidate> = called.iter().filter(|candidate| fits(candidate)).cloned().collect();
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    let suites = universe.suites().join(", ");
    if let Some(suite) = request.suite.as_ref().filter(|suite| !universe.suites().contains(&suite.as_str())) {
        return Err(Error::Unknown(format!(
            "{}: no repository has the suite `{suite}`; there are {suites}",
            show(request)
        )));
    }
    if !called.is_empty() {
        let there = called
            .iter()
            .map(|one| format!("{} ({}, {})", one.record.version, one.architecture, one.origin.suite));
        let there = there.collect::<Vec<_>>().join(", ");
        return Err(Error::Unknown(format!(
            "no package is {} for {architecture}; of {} there is {there}",
            show(request),
            request.name
        )));
    }
    let mut providers = universe.providers(&request.name)?;
    providers.retain(|candidate| candidate.architecture == *architecture);
    let mut names: Vec<&str> = providers.iter().map(|one| one.record.name.as_str()).collect();
    names.dedup();
    match names.as_slice() {
        [] if suites.is_empty() => Err(Error::Unknown(format!(
            "{}: no repository has packages for {architecture}: see `architectures` of [[packages.repo]], and the mirrors",
            request.name
        ))),
        [] => {
            let near = nearest(universe, &request.name);
            let help = match near.is_empty() {
                true => "see its spelling, and that [[packages.repo]] has its suite and component".to_owned(),
                false => format!("did you mean {}?", near.join(" or ")),
            };
            Err(Error::Unknown(format!(
                "no package is called {} for {architecture} in {suites}; {help}",
                request.name
            )))
        }
        [_] if request.version.is_none() && request.suite.is_none() => Ok(providers),
        _ => Err(Error::Unknown(format!(
            "{} is a name that several packages provide; say which: {}",
            request.name,
            names.join(", ")
        ))),
    }
}

fn nearest(universe: &Universe, wrong: &str) -> Vec<String> {
    let allowed = wrong.chars().count().div_ceil(3);
    let mut near: Vec<(usize, &str)> = universe
        .names()
        .filter(|name| name.len().abs_diff(wrong.len()) <= allowed)
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(NEAREST).map(|(_, name)| name.to_owned()).collect()
}

/// `*` stands for anything, also for nothing.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    true
}

/// What led to a contradiction, from the recipe on, each fact once.
pub(super) fn conflict(graph: &ConflictGraph, facts: &Facts<'_>) -> String {
    let nodes = &graph.graph;
    let name = |node: &ConflictNode| match node {
        ConflictNode::Root => "the recipe".to_owned(),
        ConflictNode::Solvable(id) => facts.name_of(*id),
        ConflictNode::UnresolvedDependency | ConflictNode::Excluded(_) => String::new(),
    };
    let mut told: Vec<String> = Vec::new();
    let mut tell = |fact: String| {
        if !told.contains(&fact) {
            told.push(fact);
        }
    };
    let (mut next, mut seen) = (vec![graph.root_node], vec![graph.root_node]);
    while !next.is_empty() {
        let mut after = Vec::new();
        for node in next {
            let from = name(&nodes[node]);
            let mut edges: Vec<_> = nodes.raw_edges().iter().filter(|edge| edge.source() == node).collect();
            // As the recipe and the packages state them.
            edges.sort_by_key(|edge| match edge.weight {
                ConflictEdge::Requires(requirement) => {
                    (facts.sets_of(requirement).first().map_or(u32::MAX, |set| set.0), edge.target())
                }
                ConflictEdge::Conflict(_) => (u32::MAX, edge.target()),
            });
            for edge in edges {
                let target = &nodes[edge.target()];
                let verb = if node == graph.root_node { "wants" } else { "needs" };
                match &edge.weight {
                    ConflictEdge::Requires(requirement) => {
                        let what = facts.text_of(*requirement);
                        match target {
                            ConflictNode::UnresolvedDependency => {
                                tell(format!("{from} {verb} {what}, which no repository has"));
                            }
                            _ => tell(format!("{from} {verb} {what}")),
                        }
                    }
                    ConflictEdge::Conflict(ConflictCause::Constrains(set)) => {
                        tell(format!("{from} {} ({})", facts.text_of_set(*set), name(target)));
                    }
                    ConflictEdge::Conflict(_) => {
                        tell(format!("{from} and {} cannot be there together", name(target)));
                    }
                }
                if !seen.contains(&edge.target()) {
                    seen.push(edge.target());
                    after.push(edge.target());
                }
            }
        }
        next = after;
    }
    let more = told.len().saturating_sub(MOST);
    told.truncate(MOST);
    let mut text = told.join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in
            [("1.1*", "1.1.3-1"), ("*", ""), ("*", "x"), ("1*-1", "1.2-1"), ("a*b*c", "aXbYbc"), ("1", "1")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("1.1*", "1.0"), ("", "x"), ("1*-1", "1.2-12"), ("a*b*c", "acb"), ("1", "11"), ("a*a", "a")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
