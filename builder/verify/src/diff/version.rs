//! Which of two Debian versions is newer, as deb-version(7) and Debian Policy 5.6.12 say.

use std::cmp::Ordering;

/// Orders two versions: epochs as numbers, then upstream versions, then revisions.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((epoch_a, upstream_a, revision_a), (epoch_b, upstream_b, revision_b)) = (parts(a), parts(b));
    numbers(epoch_a, epoch_b)
        .then_with(|| part(upstream_a, upstream_b))
        .then_with(|| part(revision_a, revision_b))
}

fn parts(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Texts and numbers take turns, a text first.
fn part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b);
        (text_a, a) = split(a, |letter| !letter.is_ascii_digit());
        (text_b, b) = split(b, |letter| !letter.is_ascii_digit());
        let (number_a, number_b);
        (number_a, a) = split(a, |letter| letter.is_ascii_digit());
        (number_b, b) = split(b, |letter| letter.is_ascii_digit());
        let order = texts(text_a, text_b).then_with(|| numbers(number_a, number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn split(text: &str, of: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|letter| !of(letter)).unwrap_or(text.len());
    text.split_at(end)
}

/// `~` before the end, the end before letters, letters before all others.
fn texts(a: &str, b: &str) -> Ordering {
    let weight = |letter: Option<char>| match letter {
        Some('~') => (0, '~'),
        None => (1, '\0'),
        Some(letter) if letter.is_ascii_alphabetic() => (2, letter),
        Some(letter) => (3, letter),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (first, second) = (a.next(), b.next());
        let order = weight(first).cmp(&weight(second));
        if order.is_ne() || first.is_none() {
            return order;
        }
    }
}

/// Numbers of any length.
fn numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
