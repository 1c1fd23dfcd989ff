//! Compiles the protocol without a system protoc.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["v1.proto", "v1alpha1.proto"], ["proto"])?;
    // Clients are for tests and `probe`; they come over whatever connection they are given.
    tonic_prost_build::configure().build_transport(false).compile_fds(files)?;
    Ok(())
}
