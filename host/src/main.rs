fn main() -> std::process::ExitCode {
    creamery::cli::main()
}
