//! The size of the binary.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use super::report::{Figures, Unit};
use super::run::Run;

pub fn measure(run: &mut Run) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("tokensmith");
    fs::copy(&run.flags.binary, &copy)?;
    let done = Command::new("strip").arg(&copy).status()?;
    ensure!(done.success(), "strip: {done}");
    let bytes = fs::metadata(&copy)?.len() as f64;
    run.row("binary", "binary, stripped".into(), Unit::Bytes, Figures::one(bytes), Some(20e6));
    Ok(())
}
