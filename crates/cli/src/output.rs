//! How data is printed: for people, or for programs. All that the commands say goes through here; `println!` and its like
//! panic where their output is closed, and a lint keeps them away.
//!
//! Who has read enough (`tokensmith token list | head -1`) closes the pipe: that ends a command without a word, as SIGPIPE
//! ends others ([`Closed`]). What a command has to do is done before it prints. Commands that stay print with [`mention`] and
//! go on.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::Value;

use crate::logs;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Indented JSON.
    Json,
    /// Aligned columns for people.
    #[default]
    Table,
    /// YAML.
    Yaml,
}

/// Prints `data` as JSON or YAML, or what `table` makes of it.
///
/// # Errors
/// Standard output is closed or full.
pub fn print(output: Output, data: &Value, table: impl FnOnce() -> String) -> Result<()> {
    match output {
        Output::Json => print_text(&format!("{data:#}\n")),
        Output::Table => print_text(&table()),
        Output::Yaml => print_text(&yaml(data)?),
    }
}

/// YAML text of `data`, long strings on one line.
///
/// # Errors
/// None for JSON data; the serializer's all the same.
pub fn yaml(data: &impl serde::Serialize) -> Result<String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = serde_saphyr::to_string_with_options(data, options).context("cannot write YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Whoever read standard output reads no more.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub struct Closed;

/// Prints text as it is.
///
/// # Errors
/// Standard output is full, or [`Closed`].
pub fn print_text(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints bytes as they are.
///
/// # Errors
/// As [`print_text`].
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints text that may have colours, without them where they are not wanted.
///
/// # Errors
/// As [`print_text`].
pub fn print_coloured(text: &str) -> Result<()> {
    match colours(&io::stdout()) {
        true => print_text(text),
        false => print_text(&clap::builder::StyledStr::from(text.to_owned()).to_string()),
    }
}

/// Whether there may be colours: on a terminal that has them, unless `NO_COLOR` says no, or `CLICOLOR_FORCE` yes.
pub fn colours(to: &impl IsTerminal) -> bool {
    coloured(to.is_terminal(), |name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn coloured(terminal: bool, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let is = |name, value: &str| variable(name).is_some_and(|found| found == value);
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0") {
        return true;
    }
    terminal && variable("TERM").is_some() && !is("TERM", "dumb") && !is("CLICOLOR", "0")
}

/// Prints what nobody must have read: a server goes on when its output is closed, or on a disk that is full, where `println!`
/// panics.
pub fn mention(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A line on standard error, one of the log where that is JSON, where `eprintln!` panics if it is closed or full.
pub fn aside(line: &str) {
    match logs::as_json() {
        true => aside_text(&format!("{}\n", logs::as_line(line))),
        false => aside_text(&format!("{line}\n")),
    }
}

/// Text on standard error, as it is.
pub fn aside_text(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints a value alone; the line ends only on a terminal, as `kubectl create token` does it, so that a script
/// gets exactly the value.
///
/// # Errors
/// Standard output is closed or full.
pub fn print_value(value: &str) -> Result<()> {
    let end = if io::stdout().is_terminal() && !value.ends_with('\n') { "\n" } else { "" };
    print_text(&format!("{value}{end}"))
}

/// Columns as kubectl aligns them: three spaces apart, nothing after the last. What would move the cursor or begin a new
/// line is escaped: cells hold names that anyone may have chosen, and must not look like other rows.
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    Columns::new(head).rows(rows)
}

/// The same of rows that come in parts: as wide as the first part needs, as kubectl prints pages; a cell that is longer than
/// that moves the rest of its row.
#[derive(Debug)]
pub struct Columns {
    head: Vec<String>,
    /// None until the first part.
    widths: Vec<usize>,
}

impl Columns {
    /// With these names.
    pub fn new(head: &[&str]) -> Self {
        Columns { head: head.iter().map(|name| (*name).to_owned()).collect(), widths: Vec::new() }
    }

    /// The next rows; before the first of them the names.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let mut text = String::new();
        if self.widths.is_empty() {
            self.widths = self.head.iter().map(|name| name.chars().count()).collect();
            for row in &rows {
                for (width, cell) in self.widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            self.line(&self.head, &mut text);
        }
        rows.iter().for_each(|row| self.line(row, &mut text));
        text
    }

    fn line(&self, cells: &[String], text: &mut String) {
        let line: String = cells
            .iter()
            .zip(&self.widths)
            .map(|(cell, width)| format!("{cell:<w$}   ", w = *width))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A list of objects that comes in parts, printed as if it were one: `{"FIELD": […]}` as JSON or YAML.
#[derive(Debug)]
pub struct Listing {
    output: Output,
    field: &'static str,
    columns: Columns,
    begun: bool,
}

impl Listing {
    /// As a table it has these columns.
    pub fn new(output: Output, field: &'static str, head: &[&str]) -> Self {
        Listing { output, field, columns: Columns::new(head), begun: false }
    }

    /// The text of the next objects; of a table, `row` makes their cells.
    ///
    /// # Errors
    /// None for JSON data; the serializer's all the same.
    pub fn part(&mut self, objects: Vec<Value>, row: impl Fn(&Value) -> Vec<String>) -> Result<String> {
        if self.output == Output::Table {
            self.begun = true;
            let rows: Vec<_> = objects.iter().map(row).collect();
            return Ok(self.columns.rows(&rows));
        }
        if objects.is_empty() {
            return Ok(String::new());
        }
        let first = !std::mem::replace(&mut self.begun, true);
        let whole = serde_json::json!({ self.field: objects });
        let text = self.whole(&whole)?;
        let (head, tail) = self.frame();
        let bare = text.strip_prefix(&head).and_then(|text| text.strip_suffix(&tail));
        let items = bare.context("a list is not written as lists are")?;
        Ok(match (first, self.output) {
            (true, _) => format!("{head}{items}"),
            (false, Output::Json) => format!(",\n{items}"),
            (false, _) => items.to_owned(),
        })
    }

    /// What comes after the last part.
    ///
    /// # Errors
    /// As [`Listing::part`].
    pub fn end(&mut self) -> Result<String> {
        match (self.begun, self.output) {
            (false, Output::Table) => Ok(self.columns.rows(&[])),
            (false, _) => self.whole(&serde_json::json!({ self.field: [] })),
            (true, _) => Ok(self.frame().1),
        }
    }

    fn whole(&self, data: &Value) -> Result<String> {
        match self.output {
            Output::Yaml => yaml(data),
            Output::Json | Output::Table => Ok(format!("{data:#}\n")),
        }
    }

    /// What stands before the first object and behind the last.
    fn frame(&self) -> (String, String) {
        match self.output {
            Output::Json => (format!("{{\n  \"{}\": [\n", self.field), "\n  ]\n}\n".to_owned()),
            Output::Yaml => (format!("{}:\n", self.field), String::new()),
            Output::Table => (String::new(), String::new()),
        }
    }
}

/// Quoted for a shell where it has to be.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The text with what a terminal would obey made visible.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        for (terminal, variables, wanted) in [
            (true, &[("TERM", "xterm")][..], true),
            (false, &[("TERM", "xterm")], false),
            (true, &[], false),
            (true, &[("TERM", "dumb")], false),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "1")], false),
            (true, &[("TERM", "xterm"), ("CLICOLOR", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ] {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
            };
            assert_eq!(coloured(terminal, variable), wanted, "{terminal} {variables:?}");
        }
    }

    #[test]
    fn a_cell_is_one_cell() {
        let rows = [vec!["x\nfake   row\u{1b}[2K".to_owned(), "é".to_owned()]];
        assert_eq!(columns(&["A", "B"], &rows), "A                        B\nx\\nfake   row\\u{1b}[2K   é\n");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "bbbb".to_owned()], vec!["cccccc".to_owned(), "d".to_owned()]];
        assert_eq!(columns(&["ID", "PHASE"], &rows), "ID       PHASE\na        bbbb\ncccccc   d\n");
    }

    #[test]
    fn parts_of_a_list_are_one_list() {
        let objects: Vec<Value> =
            (0..5).map(|n| serde_json::json!({ "n": n, "of": ["a", { "b": "c" }] })).collect();
        let row = |object: &Value| vec![object["n"].to_string(), "x".into()];
        for output in [Output::Json, Output::Yaml] {
            for parts in [vec![], vec![5], vec![2, 3], vec![1, 0, 4], vec![0, 5]] {
                let mut listing = Listing::new(output, "tokens", &["N", "X"]);
                let (mut text, mut at) = (String::new(), 0);
                for part in &parts {
                    text += &listing.part(objects[at..at + part].to_vec(), row).unwrap();
                    at += part;
                }
                text += &listing.end().unwrap();
                let whole = listing.whole(&serde_json::json!({ "tokens": objects[..at] })).unwrap();
                assert_eq!(text, whole, "{output:?} {parts:?}");
            }
        }
        let mut table = Listing::new(Output::Table, "tokens", &["N", "X"]);
        let text = table.part(objects[..1].to_vec(), row).unwrap()
            + &table.part(vec![serde_json::json!({"n": 12345})], row).unwrap()
            + &table.end().unwrap();
        assert_eq!(text, "N   X\n0   x\n12345   x\n");
        assert_eq!(Listing::new(Output::Table, "tokens", &["N", "X"]).end().unwrap(), "N   X\n");
    }

    #[test]
    fn yaml_keeps_long_strings_on_one_line() {
        let text = yaml(&serde_json::json!({"ca": "x y".repeat(500)})).unwrap();
        assert_eq!(text.lines().count(), 1);
    }
}
