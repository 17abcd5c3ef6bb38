//! `querist`: active learning with plugin strategies.

fn main() -> std::process::ExitCode {
    querist::front()
}
