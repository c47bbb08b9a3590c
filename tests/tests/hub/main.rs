//! Models from the hub, through the program and over real connections. The hub is on loopback.

#[cfg(feature = "hub")]
mod errors;
#[cfg(feature = "hub")]
mod fetching;
#[cfg(feature = "hub")]
mod server;
#[cfg(feature = "hub")]
mod world;

/// Without the feature a name of the hub is an error that says how to build.
#[cfg(not(feature = "hub"))]
#[test]
fn a_build_without_the_hub_says_so() {
    let mut command = creamery_tests::creamery!("logps", "--model", "hf:test/tiny", "--rows");
    let ran = creamery_tests::run(command.arg("../examples/stages/rows.jsonl"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("hf:test/tiny") && ran.stderr.contains("--features hub"), "{}", ran.stderr);
}
