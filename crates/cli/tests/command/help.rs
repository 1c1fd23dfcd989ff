//! Help: readable at any width, to be pasted from, and plain where nobody sees colours.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::process::{ended, run, tokensmith};

/// All commands, by the help of each.
fn commands() -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let mut out = vec![String::new()];
    let mut at = 0;
    while at < out.len() {
        let words: Vec<_> = out[at].split(' ').filter(|word| !word.is_empty()).collect();
        let done = run(home.path(), &[&words[..], &["--help"]].concat());
        assert_eq!(done.status.code(), Some(0), "{words:?}");
        let text = String::from_utf8(done.stdout).unwrap();
        let listed =
            text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        out.extend(
            names.map(|name| format!("{} {name}", words.join(" ")).trim().to_owned()).collect::<Vec<_>>(),
        );
        at += 1;
    }
    assert!(out.len() > 25, "{out:?}");
    out
}

fn help(command: &str, columns: &str) -> String {
    let mut asked = tokensmith("/".as_ref());
    asked.args(command.split(' ').filter(|word| !word.is_empty())).arg("--help").env("COLUMNS", columns);
    String::from_utf8(ended(&mut asked).stdout).unwrap()
}

#[test]
fn examples_can_be_pasted_at_any_width() {
    let mut examples = 0;
    for command in commands() {
        let pasted = |columns| -> Vec<String> {
            let text = help(&command, columns);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{command}: a colour for a pipe");
            assert!(!text.contains('\u{a0}'), "{command}: what looks like a space is one");
            let below = text.lines().skip_while(|line| !line.starts_with("Examples:")).skip(1);
            below.filter(|line| line.starts_with(' ')).map(str::to_owned).collect()
        };
        let wide = pasted("200");
        for columns in ["40", "80"] {
            assert_eq!(pasted(columns), wide, "{command} at {columns}");
        }
        for line in wide.iter().filter(|line| line.starts_with("  tokensmith ")) {
            examples += 1;
            assert!(line.contains("tokensmith ") && !line.ends_with(' '), "{line}");
        }
        // Prose flows: no line is short because of the source.
        assert!(help(&command, "40").lines().count() >= help(&command, "110").lines().count());
    }
    assert!(examples > 40, "{examples}");
}

#[test]
fn colours_are_for_who_asks_for_them() {
    let asked = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = tokensmith("/".as_ref());
        let done = ended(command.args(args).envs(variables.iter().copied()));
        done.stdout.contains(&0x1b) || done.stderr.contains(&0x1b)
    };
    assert!(asked(&[("CLICOLOR_FORCE", "1")], &["serve", "--help"]));
    assert!(!asked(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &["serve", "--help"]));
    assert!(!asked(&[], &["serve", "--help"]));
    assert!(!asked(&[("CLICOLOR_FORCE", "1")], &["serve", "--secure-prt"]), "an error never has any");
}

/// On a terminal, which `script` makes.
#[test]
fn a_terminal_gets_colours_unless_it_wants_none() {
    let asked = |variables: &str| {
        let binary = env!("CARGO_BIN_EXE_tokensmith");
        let line = format!("{variables} {binary} serve --help");
        let mut command = Command::new("script");
        ended(
            command
                .args(["-qec", &line, "/dev/null"])
                .env_remove("NO_COLOR")
                .stdin(std::process::Stdio::null()),
        )
    };
    if Command::new("script").arg("--version").output().is_err() {
        return;
    }
    for (variables, coloured) in
        [("TERM=xterm", true), ("TERM=xterm NO_COLOR=1", false), ("TERM=dumb", false)]
    {
        let done = asked(variables);
        assert!(done.stdout.starts_with(b"Run the server") || coloured, "{variables}");
        assert_eq!(done.stdout.contains(&0x1b), coloured, "{variables}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &["completions", "man", "--to", "man/man1"]);
    let names: BTreeSet<_> = fs::read_dir(home.path().join("man/man1"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap()
        .into_iter()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let told = format!("{} manual pages are in man/man1\n", names.len());
    assert_eq!(String::from_utf8(done.stdout).unwrap(), told);
    let commands = commands();
    let wanted = commands.iter().map(|command| format!("tokensmith {command}"));
    let wanted: BTreeSet<_> =
        wanted.map(|command| format!("{}.1", command.trim().replace(' ', "-"))).collect();
    assert_eq!(names, wanted);
    let page = fs::read_to_string(home.path().join("man/man1/tokensmith-token-create.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains(".TH tokensmith-token-create 1"), "{page}");
    assert!(page.contains("\\-\\-audience") && page.contains("tokensmith token create builder"), "{page}");
    assert!(!page.contains('\u{a0}'));
}
