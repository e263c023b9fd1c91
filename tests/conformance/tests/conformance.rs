//! The conformance suite; see the crate's documentation.

fn main() -> std::process::ExitCode {
    hythe_conformance::main()
}
