//! What every page has around its sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded, nothing runs: a reader's program holds the page to it.
const SECURITY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'";

/// A page, taken apart.
pub(super) struct Frame {
    pub(super) title: String,
    pub(super) header: Markup,
    /// Anchor, title, body.
    pub(super) sections: Vec<(&'static str, &'static str, Markup)>,
    pub(super) footer: Markup,
}

impl Frame {
    pub(super) fn render(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="referrer" content="no-referrer";
                    meta http-equiv="Content-Security-Policy" content=(SECURITY);
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#main" { "Skip to the report" }
                    (self.header)
                    @if !self.sections.is_empty() {
                        nav aria-label="Sections" {
                            ul { @for (anchor, title, _) in &self.sections { li { a href={ "#" (anchor) } { (title) } } } }
                        }
                    }
                    main #main {
                        @for (anchor, title, body) in &self.sections {
                            section id=(anchor) aria-labelledby={ (anchor) "-title" } {
                                h2 id={ (anchor) "-title" } { (title) }
                                (body)
                            }
                        }
                    }
                    footer { p { (self.footer) } }
                }
            }
        };
        page.into_string()
    }
}
