//! Prints the recipe's JSON Schema, for editors: `docs/recipe.schema.json`.

fn main() {
    println!("{:#}", graven_recipe::schema());
}
