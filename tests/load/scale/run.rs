//! One run: its servers, its samples, its rows.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokensmith_tests::Server;

use super::flags::{Flags, Size};
use super::host::Host;
use super::machine::Machine;
use super::report::{self, Figures, Report, Row, Unit};
use crate::now;

/// A sample takes no longer, though it has not gathered enough.
const LONGEST: Duration = Duration::from_secs(5);

pub struct Run {
    pub flags: Flags,
    pub size: Size,
    machine: Machine,
    report: Report,
}

impl Run {
    pub fn new(flags: Flags) -> Result<Self> {
        let version = std::process::Command::new(&flags.binary).arg("--version").output();
        let version = version.with_context(|| flags.binary.display().to_string())?.stdout;
        let cores = std::thread::available_parallelism()?.get();
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        let report = Report {
            binary: flags.binary.display().to_string(),
            about: format!(
                "{version}; {cores} cores, median of {}{}",
                flags.repeat,
                if flags.quick { ", quick: fewer objects, nothing is judged" } else { "" }
            ),
            disturbed: String::new(),
            rows: Vec::new(),
        };
        let patience = Duration::from_secs(if flags.quick { 5 } else { 60 });
        Ok(Run { size: flags.size(), flags, machine: Machine::new(patience), report })
    }

    /// A server that keeps all in memory.
    pub async fn in_memory(&self) -> Result<Host> {
        let args = ["--ephemeral", ES256];
        Ok(Host { server: Server::start_program(&self.flags.binary, None, &args).await? })
    }

    /// A server on a folder.
    pub async fn on(&self, dir: &Path) -> Result<Host> {
        Ok(Host { server: Server::start_program(&self.flags.binary, Some(dir), &[ES256]).await? })
    }

    /// Before a sample.
    pub async fn quiet(&mut self) -> Result<()> {
        self.machine.quiet().await
    }

    /// CPU time of the server for one of so many operations that `work` does, in seconds. It is called as often as it takes
    /// to gather enough.
    pub async fn cpu(
        &mut self,
        host: &Host,
        operations: usize,
        mut work: impl AsyncFnMut() -> Result<()>,
    ) -> Result<Figures> {
        // The first pays for what is made once.
        work().await?;
        let mut samples = Vec::new();
        for _ in 0..self.flags.repeat {
            self.quiet().await?;
            let (start, before, mut done) = (now(), host.server.cpu()?, 0);
            let spent = loop {
                work().await?;
                done += operations;
                let spent = host.server.cpu()?.saturating_sub(before);
                if spent >= self.size.enough || start.elapsed() > LONGEST {
                    break spent;
                }
            };
            samples.push(spent.as_secs_f64() / done as f64);
        }
        Figures::of(samples)
    }

    /// A row. The target is the most that it may be.
    pub fn row(&mut self, id: &str, what: String, unit: Unit, figures: Figures, target: Option<f64>) {
        let target = target.filter(|_| !self.flags.quick);
        let row = Row { id: id.to_owned(), what, unit, figures, target };
        eprintln!("        {}", report::line(&row));
        self.report.rows.push(row);
    }

    /// Prints the table, and writes the file.
    pub fn finish(mut self, took: Duration) -> Result<()> {
        self.report.disturbed = format!("{}; {} s in all", self.machine.said(), took.as_secs());
        print!("{}", report::table(&self.report));
        if let Some(path) = &self.flags.json {
            std::fs::write(path, serde_json::to_vec_pretty(&self.report)?)
                .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Signing must not hide what a token costs besides.
const ES256: &str = "--signing-algorithm=ES256";
