//! Small archives, each with one thing to decide.

use graven_sources::debian::{Architecture, Error, Index, Origin, Pin, Request, Universe, Wanted, solve};

use super::archive::paragraph;

/// A package: name, version, further fields with `; ` between.
type Package<'a> = (&'a str, &'a str, &'a str);

/// Packages, all of one suite.
fn universe(packages: &[Package<'_>]) -> Universe {
    suites(&[("one", 500, packages)])
}

fn suites(suites: &[(&str, i32, &[Package<'_>])]) -> Universe {
    let amd64 = Architecture::parse("amd64").unwrap();
    let mut universe = Universe::new(amd64.clone());
    for (repository, (suite, priority, packages)) in suites.iter().enumerate() {
        let (mut native, mut foreign) = (String::new(), String::new());
        for (name, version, fields) in *packages {
            let fields: String =
                fields.split("; ").filter(|f| !f.is_empty()).map(|f| format!("{f}\n")).collect();
            let text = paragraph(name, version, &fields, b"deb");
            match fields.contains("Architecture: i386") {
                true => foreign.push_str(&text.replace("Architecture: amd64\n", "")),
                false => native.push_str(&text),
            }
        }
        let origin = Origin { repository, suite: (*suite).to_owned(), priority: *priority };
        universe.add(origin.clone(), amd64.clone(), Index::parse(native.into()).unwrap());
        universe.add(origin, Architecture::parse("i386").unwrap(), Index::parse(foreign.into()).unwrap());
    }
    universe
}

fn request(text: &str) -> Request {
    let (text, suite) =
        text.split_once('/').map_or((text, None), |(text, suite)| (text, Some(suite.to_owned())));
    let (text, version) = text.split_once('=').map_or((text, None), |(text, v)| (text, Some(v.to_owned())));
    let (name, arch) =
        text.split_once(':').map_or((text, None), |(name, arch)| (name, Architecture::parse(arch)));
    Request { name: name.to_owned(), architecture: arch, version, suite }
}

fn wanted(install: &str) -> Wanted {
    Wanted {
        install: install.split(' ').filter(|one| !one.is_empty()).map(request).collect(),
        ..Wanted::default()
    }
}

/// The answer as `name=version …`, or the error.
fn answer(universe: &Universe, wanted: &Wanted) -> String {
    match solve(universe, wanted) {
        Ok(all) => {
            let shown = all.iter().map(|one| {
                let foreign = one.record.architecture.as_ref().filter(|arch| arch.as_str() == "i386");
                format!("{}{}={}", one.record.name, foreign.map_or("", |_| ":i386"), one.record.version)
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        Err(error) => {
            assert!(error.is_usage() && !error.to_string().contains('\n'), "{error}");
            error.to_string()
        }
    }
}

fn check(packages: &[Package<'_>], install: &str, expected: &str) {
    assert_eq!(answer(&universe(packages), &wanted(install)), expected, "{install}");
}

#[test]
fn dependencies_come_in_and_nothing_else() {
    let all: &[_] = &[
        ("aa", "1", "Depends: bb (>= 2), cc; Recommends: dd; Suggests: ee"),
        ("bb", "2", "Pre-Depends: ff"),
        ("cc", "1", ""),
        ("dd", "1", ""),
        ("ee", "1", ""),
        ("ff", "1", ""),
    ];
    check(all, "aa", "aa=1 bb=2 cc=1 ff=1");
}

#[test]
fn the_first_alternative_is_taken_unless_another_is_there() {
    let all: &[_] =
        &[("aa", "1", "Depends: bb | cc"), ("bb", "1", ""), ("cc", "1", ""), ("dd", "1", "Depends: cc")];
    check(all, "aa", "aa=1 bb=1");
    check(all, "aa cc", "aa=1 cc=1");
    check(all, "aa dd", "aa=1 cc=1 dd=1");
    check(&[("aa", "1", "Depends: bb | cc"), ("cc", "1", "")], "aa", "aa=1 cc=1");
}

/// Archives of twelve packages with choices at random: the answer is whole, and none of it could be left out.
#[test]
fn an_answer_is_whole_and_lean() {
    let mut state = 1u64;
    let mut below = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let name = |at: u64| format!("p{at:02}");
    for round in 0..500 {
        // What each needs: groups of alternatives, each by a name that comes later, so that nothing needs itself.
        let needs: Vec<Vec<Vec<u64>>> = (0..12u64)
            .map(|at| {
                let groups = if at < 10 { below(3) } else { 0 };
                (0..groups).map(|_| (0..=below(3)).map(|_| at + 1 + below(11 - at)).collect()).collect()
            })
            .collect();
        let texts: Vec<(String, String)> = (0..12u64)
            .map(|at| {
                let groups: Vec<String> = needs[at as usize]
                    .iter()
                    .map(|group| group.iter().map(|&one| name(one)).collect::<Vec<_>>().join(" | "))
                    .collect();
                let fields = match groups.as_slice() {
                    [] => String::new(),
                    groups => format!("Depends: {}", groups.join(", ")),
                };
                (name(at), fields)
            })
            .collect();
        let packages: Vec<Package<'_>> =
            texts.iter().map(|(name, fields)| (name.as_str(), "1", fields.as_str())).collect();
        let asked: Vec<u64> = (0..=below(4)).map(|_| below(12)).collect();
        let install = asked.iter().map(|&at| name(at)).collect::<Vec<_>>().join(" ");
        let answer = answer(&universe(&packages), &wanted(&install));
        let there: Vec<u64> =
            answer.split(' ').map(|one| one[1..one.find('=').unwrap()].parse().unwrap()).collect();
        let whole = |set: &[u64]| {
            asked.iter().all(|one| set.contains(one))
                && set.iter().all(|at| {
                    needs[*at as usize].iter().all(|group| group.iter().any(|one| set.contains(one)))
                })
        };
        assert!(whole(&there), "{round}: {packages:?} {install}: {answer}");
        for one in &there {
            let rest: Vec<u64> = there.iter().copied().filter(|other| other != one).collect();
            assert!(!whole(&rest), "{round}: {packages:?} {install}: {answer}: p{one:02} is not needed");
        }
    }
}

#[test]
fn a_provided_name_counts_for_its_version_only() {
    let all: &[_] = &[
        ("aa", "1", "Depends: mta"),
        ("bb", "1", "Depends: lib (>= 2)"),
        ("cc", "1", "Depends: mta (>= 1)"),
        ("pp", "1", "Provides: mta"),
        ("qq", "1", "Provides: lib (= 2.1)"),
    ];
    check(all, "aa", "aa=1 pp=1");
    check(all, "bb", "bb=1 qq=1");
    let refused = answer(&universe(all), &wanted("cc"));
    assert_eq!(
        refused,
        "no set of packages does it: the recipe wants cc; cc 1 needs mta (>= 1), which no repository has"
    );
}

#[test]
fn a_real_package_goes_before_one_that_provides_its_name() {
    check(&[("aa", "1", "Depends: bb"), ("b0", "1", "Provides: bb"), ("bb", "1", "")], "aa", "aa=1 bb=1");
}

#[test]
fn conflicts_and_breaks_are_kept() {
    let all: &[_] = &[
        ("aa", "1", "Depends: bb | cc"),
        ("bb", "1", "Conflicts: dd"),
        ("cc", "1", ""),
        ("dd", "1", ""),
        ("ee", "1", "Breaks: ff (<< 2)"),
        ("ff", "1", ""),
        ("gg", "1", "Provides: mta; Conflicts: mta"),
        ("hh", "1", "Provides: mta; Conflicts: mta"),
    ];
    check(all, "aa dd", "aa=1 cc=1 dd=1");
    check(all, "gg", "gg=1");
    assert_eq!(
        answer(&universe(all), &wanted("ee ff")),
        "no set of packages does it: the recipe wants ee; the recipe wants ff; ee 1 breaks ff (<< 2) (ff 1)"
    );
    let refused = answer(&universe(all), &wanted("gg hh"));
    assert!(refused.contains("conflicts with mta"), "{refused}");
}

#[test]
fn an_older_version_is_taken_where_the_newest_does_not_fit() {
    let all: &[_] = &[("aa", "2", "Depends: bb (>= 9)"), ("aa", "1", "Depends: bb"), ("bb", "1", "")];
    check(all, "aa", "aa=1 bb=1");
    check(all, "aa=1*", "aa=1 bb=1");
    let refused = answer(&universe(all), &wanted("aa=2"));
    assert!(refused.ends_with("aa 2 needs bb (>= 9), which no repository has"), "{refused}");
}

#[test]
fn priorities_go_before_versions() {
    let universe = suites(&[
        ("stable", 500, &[("aa", "1", "Depends: bb"), ("bb", "1", "")]),
        (
            "backports",
            100,
            &[("aa", "2", "Depends: bb (>= 2)"), ("bb", "2", ""), ("cc", "2", "Depends: bb (>= 2)")],
        ),
        ("vendor", 900, &[("dd", "0.1", "")]),
    ]);
    assert_eq!(answer(&universe, &wanted("aa")), "aa=1 bb=1");
    assert_eq!(answer(&universe, &wanted("aa/backports")), "aa=2 bb=2");
    assert_eq!(answer(&universe, &wanted("aa=2")), "aa=2 bb=2");
    assert_eq!(answer(&universe, &wanted("cc dd")), "bb=2 cc=2 dd=0.1");
    assert!(
        answer(&universe, &wanted("aa/sid")).contains("no repository has the suite `sid`; there are stable")
    );
}

#[test]
fn architectures_stay_among_themselves_unless_they_say_otherwise() {
    let i386 = "Architecture: i386";
    let all: &[_] = &[
        ("lib", "1", "Multi-Arch: same"),
        ("lib", "1", &format!("{i386}; Multi-Arch: same")),
        ("tool", "1", "Multi-Arch: foreign"),
        ("app", "1", &format!("{i386}; Depends: lib, tool, script:any")),
        ("script", "1", "Multi-Arch: allowed"),
        ("plain", "1", ""),
        ("plain", "1", i386),
        ("old", "1", "Multi-Arch: same"),
        ("old", "2", &format!("{i386}; Multi-Arch: same")),
        ("needs", "1", &format!("{i386}; Depends: script")),
    ];
    check(all, "app:i386", "app:i386=1 lib:i386=1 script=1 tool=1");
    check(all, "app:i386 lib", "app:i386=1 lib=1 lib:i386=1 script=1 tool=1");
    for (install, says) in [
        ("plain plain:i386", "plain 1 cannot be installed beside (plain:i386 1)"),
        ("old old:i386", "must have the same version as"),
        ("needs:i386", "needs script, which no repository has"),
    ] {
        let refused = answer(&universe(all), &wanted(install));
        assert!(refused.contains(says), "{install}: {refused}");
    }
}

#[test]
fn essential_packages_come_in_when_they_are_asked_for() {
    let all: &[_] = &[("aa", "1", ""), ("ee", "1", "Essential: yes; Depends: ff"), ("ff", "1", "")];
    check(all, "aa", "aa=1");
    let essential = Wanted { essential: true, ..wanted("aa") };
    assert_eq!(answer(&universe(all), &essential), "aa=1 ee=1 ff=1");
}

#[test]
fn what_is_removed_stays_out() {
    let all: &[_] =
        &[("aa", "1", "Depends: bb | cc"), ("bb", "1", ""), ("cc", "1", ""), ("dd", "1", "Depends: bb")];
    let without = |install| Wanted { without: vec!["bb".to_owned()], ..wanted(install) };
    assert_eq!(answer(&universe(all), &without("aa")), "aa=1 cc=1");
    let refused = answer(&universe(all), &without("dd"));
    assert!(
        refused.contains("dd 1 needs bb") && refused.contains("no bb, which [packages] remove says"),
        "{refused}"
    );
}

#[test]
fn pins_are_kept_where_they_can_be() {
    let all: &[_] = &[
        ("aa", "2", ""),
        ("aa", "1", ""),
        ("bb", "1", "Depends: aa (>= 2)"),
        ("cc", "1", "Depends: mta"),
        ("p1", "1", "Provides: mta"),
        ("p2", "1", "Provides: mta"),
    ];
    let pin = |name: &str, version: &str| Pin {
        name: name.into(),
        architecture: "amd64".into(),
        version: version.into(),
    };
    let pinned = |install| Wanted { pins: vec![pin("aa", "1"), pin("p2", "1")], ..wanted(install) };
    assert_eq!(answer(&universe(all), &wanted("aa cc")), "aa=2 cc=1 p1=1");
    assert_eq!(answer(&universe(all), &pinned("aa cc")), "aa=1 cc=1 p2=1");
    assert_eq!(answer(&universe(all), &pinned("aa bb")), "aa=2 bb=1");
}

#[test]
fn what_is_not_there_is_named_with_what_is_near() {
    let all: &[_] =
        &[("nginx", "1", "Provides: httpd"), ("lighttpd", "1", "Provides: httpd"), ("nftables", "1.1.3", "")];
    for (install, says) in [
        ("nginxx", "no package is called nginxx for amd64 in one; did you mean nginx?"),
        ("zzzzzz", "no package is called zzzzzz for amd64 in one; see its spelling"),
        ("nftables=2*", "no package is nftables=2* for amd64; of nftables there is 1.1.3 (amd64, one)"),
        ("nginx:i386", "no package is nginx:i386 for i386; of nginx there is 1 (amd64, one)"),
        ("httpd", "httpd is a name that several packages provide; say which: lighttpd, nginx"),
    ] {
        let refused = answer(&universe(all), &wanted(install));
        assert!(refused.starts_with(says), "{install}: {refused}");
    }
}

#[test]
fn the_same_question_has_the_same_answer() {
    let mut packages = Vec::new();
    for at in 0..200 {
        let depends = format!("Depends: p{} | p{}, p{} | mta", at * 7 % 200, at * 13 % 200, at * 3 % 200);
        packages.push((format!("p{at}"), depends + if at % 5 == 0 { "; Provides: mta" } else { "" }));
    }
    let packages: Vec<Package<'_>> =
        packages.iter().map(|(name, fields)| (name.as_str(), "1", fields.as_str())).collect();
    let first = answer(&universe(&packages), &wanted("p1 p2 p50"));
    for _ in 0..20 {
        assert_eq!(answer(&universe(&packages), &wanted("p1 p2 p50")), first);
    }
}

#[test]
fn a_damaged_record_is_named() {
    let all: &[_] = &[("aa", "1", "Depends: bb"), ("bb", "1", "Depends: c (")];
    let error = solve(&universe(all), &wanted("aa")).expect_err("bb cannot be read");
    assert!(matches!(error, Error::Damaged { .. }));
    assert!(error.to_string().contains("package bb: its field `Depends`"), "{error}");
}
