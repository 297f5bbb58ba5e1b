//! The recipe's reference for people, made from its schema: a chapter of the user guide.

use serde_json::{Map, Value};

use crate::schema::schema;

const HEADER: &str = "# Every key of a recipe\n\n\
    Made from the schema (`docs/recipe.schema.json`, which editors understand) by\n\
    `cargo run -p graven-recipe --example reference > docs/guide/src/recipe.md`; a test compares the two.\n\n\
    A recipe is TOML. Unknown keys, wrong types and impossible values are refused with file, line and the nearest right\n\
    word. Paths are relative to the file that states them. What stands below `[target.NAME]` or `[profile.NAME]` goes over\n\
    the rest: tables merge, arrays append, everything else is replaced.\n";

/// The reference as Markdown.
pub fn reference() -> String {
    let schema = schema();
    let mut book = Book { definitions: &schema["$defs"], text: HEADER.to_owned() };
    book.table("The recipe itself", "", &schema);
    book.text
}

struct Book<'s> {
    definitions: &'s Value,
    text: String,
}

impl Book<'_> {
    /// A section of the book for one table, then those of the tables in it.
    fn table(&mut self, heading: &str, path: &str, schema: &Value) {
        self.text.push_str(&format!("\n## {heading}\n\n| key | value | meaning |\n|---|---|---|\n"));
        let none = Map::new();
        let keys = schema["properties"].as_object().unwrap_or(&none);
        for (key, value) in keys {
            let meaning =
                value["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            self.text.push_str(&format!("| `{key}` | {} | {meaning} |\n", self.kind(value)));
        }
        for (key, value) in keys {
            let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let Some((name, heading)) = self.inner_table(value, &here) else { continue };
            // Overrides have the recipe's own keys.
            if name != "Section" {
                let path = heading.trim_matches(['[', ']', '`']).to_owned();
                let definitions = self.definitions;
                self.table(&heading, &path, &definitions[&name]);
            }
        }
    }

    /// The table that a key holds, or holds several of: its type, and its heading in a recipe.
    fn inner_table(&self, value: &Value, path: &str) -> Option<(String, String)> {
        let found = |schema: &Value, heading: String| {
            let name = self.table_of(schema)?;
            Some((name, format!("`{heading}`")))
        };
        let named = if path == "files" { "\"/PATH\"" } else { "NAME" };
        found(value, format!("[{path}]"))
            .or_else(|| found(&value["items"], format!("[[{path}]]")))
            .or_else(|| found(&value["additionalProperties"], format!("[{path}.{named}]")))
    }

    /// The name of the table that a schema stands for, itself or as one of several choices.
    fn table_of(&self, schema: &Value) -> Option<String> {
        if let Some(name) = name_of(schema) {
            let definition = &self.definitions[name];
            return match definition["properties"].is_object() {
                true => Some(name.to_owned()),
                false => self.table_of(definition),
            };
        }
        schema["anyOf"].as_array()?.iter().find_map(|one| self.table_of(one))
    }

    /// What a value looks like.
    fn kind(&self, schema: &Value) -> String {
        if let Some(name) = name_of(schema) {
            let definition = &self.definitions[name];
            return if definition["properties"].is_object() {
                "table".to_owned()
            } else {
                self.kind(definition)
            };
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("`\"{word}\"`");
        }
        for choices in ["anyOf", "oneOf", "enum"] {
            if let Some(choices) = schema[choices].as_array() {
                let mut kinds: Vec<String> = Vec::new();
                for choice in choices {
                    let kind =
                        choice.as_str().map_or_else(|| self.kind(choice), |word| format!("`\"{word}\"`"));
                    if !kind.is_empty() && !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
                return kinds.join(" or ");
            }
        }
        // Every key may be left out, which schemas write as `null`.
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            kind => kind.as_str().into_iter().filter(|kind| *kind != "null").collect(),
        };
        match kinds.first() {
            Some(&"string") => "text".to_owned(),
            Some(&"integer") => "number".to_owned(),
            Some(&"boolean") => "`true` or `false`".to_owned(),
            Some(&"array") => format!("list of {}", plural(&self.kind(&schema["items"]))),
            Some(&"object") => format!("{} by name", self.kind(&schema["additionalProperties"])),
            _ => String::new(),
        }
    }
}

/// The definition that a schema refers to.
fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        "table" => "tables".to_owned(),
        "number" => "numbers".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_guides_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/src/recipe.md");
        let on_disk = std::fs::read_to_string(path).unwrap_or_default();
        let how = "cargo run -p graven-recipe --example reference > docs/guide/src/recipe.md";
        assert!(on_disk == super::reference(), "the reference changed; {how}");
    }
}
