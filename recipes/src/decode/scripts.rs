//! Who may run scripts.

use super::rules;
use crate::fields::Fields;
use crate::recipe::Scripts;

pub(crate) fn scripts(mut fields: Fields<'_>) -> Scripts {
    let mut interpreters = fields.texts("interpreters");
    interpreters.retain(|path| match rules::image_path(path) {
        Ok(()) => true,
        Err(expected) => {
            let message = format!("`{}` is no interpreter's path", path.escape_debug());
            fields.report_with_help(&path.place, message, expected);
            false
        }
    });
    let unenlightened = fields.word("unenlightened").map(|word| word.value).unwrap_or_default();
    let accept = fields.reasons("accept", |path| rules::image_path(path).map(|()| path.to_owned()));
    for path in interpreters.iter().filter(|path| accept.contains_key(&path.value)) {
        let message = format!("`{}` is vouched for as an interpreter that asks", path.value);
        fields.report_with_help(
            &path.place,
            message,
            "there is nothing to accept: take it out of `scripts.accept`, or from here",
        );
    }
    fields.finish();
    Scripts { interpreters, unenlightened, accept }
}
