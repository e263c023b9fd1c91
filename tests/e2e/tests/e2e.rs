//! The end-to-end suite; see the crate's documentation.

fn main() -> std::process::ExitCode {
    hythe_e2e::main()
}
