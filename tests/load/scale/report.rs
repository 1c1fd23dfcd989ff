//! Rows, as a table and as a file.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What a number counts; it is kept in the base of each: bytes, seconds, or as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// How many.
    Count,
    /// Seconds.
    Seconds,
    /// How often as much.
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let size = value.abs();
        match self {
            Unit::Bytes if size >= 1e6 => format!("{:.1} MB", value / 1e6),
            Unit::Bytes => format!("{:.1} KB", value / 1e3),
            Unit::Count => format!("{value:.0}"),
            Unit::Seconds if size >= 1.0 => format!("{value:.2} s"),
            Unit::Seconds if size >= 0.01 => format!("{:.0} ms", value * 1e3),
            Unit::Seconds if size >= 0.001 => format!("{:.2} ms", value * 1e3),
            Unit::Seconds => format!("{:.1} µs", value * 1e6),
            Unit::Times => format!("{value:.2} x"),
        }
    }
}

/// What several samples say.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub least: f64,
    pub median: f64,
    pub most: f64,
    pub samples: usize,
}

impl Figures {
    /// Of samples; there is one at least.
    pub fn of(mut samples: Vec<f64>) -> Result<Self> {
        samples.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (samples.first(), samples.last()) else {
            anyhow::bail!("there is no sample")
        };
        Ok(Figures { least: *least, median: samples[samples.len() / 2], most: *most, samples: samples.len() })
    }

    /// A number that was not measured several times.
    pub fn one(value: f64) -> Self {
        Figures { least: value, median: value, most: value, samples: 1 }
    }

    /// Each, as that makes it.
    pub fn map(self, of: impl Fn(f64) -> f64) -> Self {
        Figures { least: of(self.least), median: of(self.median), most: of(self.most), ..self }
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// By this it is found in another file.
    pub id: String,
    pub what: String,
    pub unit: Unit,
    pub figures: Figures,
    /// The most that it may be.
    pub target: Option<f64>,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub binary: String,
    pub about: String,
    pub disturbed: String,
    pub rows: Vec<Row>,
}

/// A file of before.
pub fn read(path: &str) -> Result<Report> {
    let bytes = std::fs::read(path).with_context(|| path.to_owned())?;
    serde_json::from_slice(&bytes).with_context(|| path.to_owned())
}

/// A row while it is found.
pub fn line(row: &Row) -> String {
    format!("{}: {}", row.what, row.unit.show(row.figures.median))
}

/// All rows of a run.
pub fn table(report: &Report) -> String {
    let mut out = format!("{}\n{}\n{}\n\n", report.binary, report.about, report.disturbed);
    let head = ["what", "value", "least to most", "target", ""].map(str::to_owned);
    let lines = report.rows.iter().map(|row| {
        let spread = match row.figures.samples {
            1 => String::new(),
            _ => format!("{} to {}", row.unit.show(row.figures.least), row.unit.show(row.figures.most)),
        };
        [row.what.clone(), row.unit.show(row.figures.median), spread, wanted(row), verdict(row)]
    });
    aligned(&mut out, std::iter::once(head).chain(lines).collect());
    out
}

/// Two runs side by side: the rows of the new one, and those that only the old one has.
pub fn compare(old: &Report, new: &Report) -> String {
    let mut out = String::new();
    for (name, report) in [("old", old), ("new", new)] {
        let _ = writeln!(out, "{name}: {}: {}; {}", report.binary, report.about, report.disturbed);
    }
    out.push('\n');
    let head = ["what", "old", "new", "new/old", "target", ""].map(str::to_owned);
    let of = |report: &Report, id: &str| report.rows.iter().find(|row| row.id == id).cloned();
    let gone = old.rows.iter().filter(|row| of(new, &row.id).is_none());
    let lines = new.rows.iter().chain(gone).map(|row| {
        let (before, after) = (of(old, &row.id), of(new, &row.id));
        let show =
            |row: &Option<Row>| row.as_ref().map_or_else(String::new, |r| r.unit.show(r.figures.median));
        let ratio = match (&before, &after) {
            (Some(before), Some(after)) if before.figures.median > 0.0 => {
                format!("{:.2}", after.figures.median / before.figures.median)
            }
            _ => String::new(),
        };
        let verdict = after.as_ref().map_or_else(String::new, verdict);
        [row.what.clone(), show(&before), show(&after), ratio, wanted(row), verdict]
    });
    aligned(&mut out, std::iter::once(head).chain(lines).collect());
    out
}

fn wanted(row: &Row) -> String {
    row.target.map_or_else(String::new, |most| format!("≤ {}", row.unit.show(most)))
}

fn verdict(row: &Row) -> String {
    let of = |most| if row.figures.median <= most { "ok" } else { "over" };
    row.target.map_or("", of).to_owned()
}

/// The first column to the left, the others to the right.
fn aligned<const COLUMNS: usize>(out: &mut String, lines: Vec<[String; COLUMNS]>) {
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    for line in &lines {
        let mut text = format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
}
