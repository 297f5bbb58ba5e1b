//! Prints `docs/stage0-codes.md`.

fn main() {
    print!("{}", graven_handoff::Code::page());
}
