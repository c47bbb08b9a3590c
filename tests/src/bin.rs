//! The program itself, under a name of its own, so that end-to-end tests find it.

fn main() -> std::process::ExitCode {
    creamery::cli::main()
}
