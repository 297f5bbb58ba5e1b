//! `docs/recipe.schema.json`, which editors are pointed to, is the schema of this source.

#[test]
fn the_schema_in_docs_is_this_one() {
    let committed = include_str!("../../docs/recipe.schema.json");
    assert!(
        committed == format!("{:#}\n", graven_recipe::schema()),
        "docs/recipe.schema.json is old: cargo run -p graven-recipe --example schema > docs/recipe.schema.json"
    );
}
