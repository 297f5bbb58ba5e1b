//! Prints the recipe's reference, a chapter of the guide: `docs/guide/src/recipe.md`.

fn main() {
    print!("{}", graven_recipe::reference());
}
