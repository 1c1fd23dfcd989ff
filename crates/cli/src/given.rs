//! What counts as given, on the command line and in the environment, for all commands alike.
//!
//! - An empty variable and an empty list are not given: `TOKENSMITH_TLS_SAN=` in a file of variables, `--tls-san "$SANS"` in a
//!   script.
//! - A variable's list is one by commas, also of a flag that is repeated for several, and whose values may hold commas.
//! - A switch is written as Go's flags are: `1`, `t`, `true` and their opposites.
//! - A time is written as Go's are, in days (`7d`) and weeks, too, but for the flags that Kubernetes has.
//! - A variable that no flag reads is told at the start: a misspelt one would be ignored without a word.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;

use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use tokensmith_api::GoDuration;
use tokensmith_api::duration::{DurationError, typed};
use tokensmith_objects::field::go_bool;

use crate::args::{Cli, protect_key_ids};
use crate::failure::Failure;
use crate::logs;
use crate::output::aside;
use crate::usage::{Line, laid_out};

/// Reads a command line.
///
/// # Errors
/// It is wrong; or help was asked for.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Failure> {
    let command = command();
    let args = without_empty_lists(&lists(&command), protect_key_ids(args));
    let mut command = with_lists_of_variables(command, &args);
    let line = Line::read(&command, args);
    let parsed = command.try_get_matches_from_mut(&line.args);
    let read = parsed.map_err(|e| line.failure(&command, &e)).and_then(|matches| {
        check(&matches)?;
        Cli::from_arg_matches(&matches).map_err(|e| line.failure(&command, &e))
    });
    if read.is_err() {
        logs::as_asked(line.at(&command), &line.args, std::env::var_os(logs::FORMAT));
    }
    read
}

/// The command line's grammar, with what all commands have in common.
pub fn command() -> Command {
    with_rules(Cli::command())
}

/// Tells of variables that no flag reads.
pub fn warn_of_strangers() {
    let known = variables(&Cli::command());
    for (name, value) in std::env::vars_os() {
        if let Some(warning) = stranger(&known, &name, &value) {
            aside(&format!("warning: {warning}"));
        }
    }
}

fn with_rules(command: Command) -> Command {
    let below = command.get_after_help().map(|text| laid_out(&text.to_string()));
    let command = match below {
        Some(text) => command.after_help(text),
        None => command,
    };
    let command = command.mut_args(|arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        let arg = if empty { arg.env(Resettable::<clap::builder::OsStr>::Reset) } else { arg };
        match arg.get_value_parser().type_id() {
            id if id == TypeId::of::<bool>() => arg.value_parser(switch),
            id if id == TypeId::of::<GoDuration>() && is_kubernetes(arg.get_id().as_str()) => {
                arg.value_parser(|text: &str| span(text.parse(), "90s, 10m or 1h30m"))
            }
            id if id == TypeId::of::<GoDuration>() => {
                arg.value_parser(|text: &str| span(typed(text), "90s, 10m, 1h30m or 7d"))
            }
            id if id == TypeId::of::<SocketAddr>() => arg.value_parser(socket),
            id if id == TypeId::of::<u16>() => arg.value_parser(whole::<u16>),
            id if id == TypeId::of::<usize>() => arg.value_parser(whole::<usize>),
            _ => arg,
        }
    });
    let names: Vec<_> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_rules))
}

/// Has a variable's list split where the command line does not say the same flag, whose values are taken as they are, as
/// kubectl's `--as-group` is.
fn with_lists_of_variables(command: Command, args: &[OsString]) -> Command {
    let by_hand = |arg: &Arg| {
        let flag = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        let says = |given: &OsString| given.to_str().and_then(|given| given.split('=').next()) == Some(&flag);
        args.iter().take_while(|given| *given != "--").any(says)
    };
    let command = command.mut_args(|arg| {
        let list = matches!(arg.get_action(), ArgAction::Append) && arg.get_env().is_some();
        if list && !by_hand(&arg) { arg.value_delimiter(',') } else { arg }
    });
    let names: Vec<_> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let inner = |command: Command, name: String| {
        command.mut_subcommand(name, |inner| with_lists_of_variables(inner, args))
    };
    names.into_iter().fold(command, inner)
}

fn switch(text: &str) -> Result<bool, String> {
    go_bool(text).ok_or_else(|| "use true or false".into())
}

/// Kubernetes has these flags (kubectl's `create token`, kube-apiserver), and they take what it takes: Go's durations.
/// `--request-timeout` is read as kubectl reads it, and never here.
fn is_kubernetes(id: &str) -> bool {
    ["duration", "event_ttl", "service_account_max_token_expiration"].contains(&id)
}

/// No flag means anything by a time below zero.
fn span(read: Result<GoDuration, DurationError>, like: &str) -> Result<GoDuration, String> {
    match read {
        Ok(span) if span.is_negative() => Err("it must not be negative".into()),
        read => read.map_err(|e| format!("{e}: write it as {like}")),
    }
}

fn socket(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an address with a port, such as 127.0.0.1:9090 or [::1]:9090")
}

fn whole<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    // As many bits as a number of this kind has.
    let most = u64::MAX >> (64 - 8 * size_of::<T>());
    let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("not a whole number from 0 to {most}"))
}

/// The flags whose value is a list.
fn lists(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter(|arg| arg.get_value_delimiter().is_some());
    let own = own.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
    own.chain(command.get_subcommands().flat_map(lists)).collect()
}

fn without_empty_lists(lists: &BTreeSet<String>, args: Vec<OsString>) -> Vec<OsString> {
    let is_list = |arg: &OsStr| arg.to_str().is_some_and(|arg| lists.contains(arg));
    let mut out = Vec::new();
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            out.extend(args.by_ref());
        } else if is_list(&arg) && args.next_if(|value| value.is_empty()).is_some() {
            // Neither the flag nor its value.
        } else if !arg
            .to_str()
            .and_then(|arg| arg.strip_suffix('='))
            .is_some_and(|flag| is_list(flag.as_ref()))
        {
            out.push(arg);
        }
    }
    out
}

/// What no single flag can tell. A folder that comes from the environment is the image's, and says nothing of this start; what
/// the command line says wins over a variable, and only against itself it cannot.
fn check(matches: &ArgMatches) -> Result<(), Failure> {
    if let Some(("serve", serve)) = matches.subcommand()
        && serve.get_flag("ephemeral")
        && by_hand(serve, "data_dir")
    {
        return Err(Failure::usage("--ephemeral keeps nothing: it cannot be used with --data-dir"));
    }
    let mut at = Some(matches);
    while let Some(matches) = at {
        if by_hand(matches, "token") && by_hand(matches, "bearer_token_file") {
            return Err(Failure::usage("--token and --bearer-token-file name two tokens: give one of them"));
        }
        at = matches.subcommand().map(|(_, inner)| inner);
    }
    Ok(())
}

fn by_hand(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.try_contains_id(id).unwrap_or(false);
    known && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// All variables that are read.
fn variables(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()));
    let others = ["TOKENSMITH_KILL_AT", "TOKENSMITH_PANIC_WHILE"].map(str::to_owned);
    own.chain(others).chain(command.get_subcommands().flat_map(variables)).collect()
}

/// What is to be said of a variable, if anything is.
fn stranger(known: &BTreeSet<String>, name: &OsStr, value: &OsStr) -> Option<String> {
    let name = name.to_str().filter(|name| name.starts_with("TOKENSMITH_"))?;
    if known.contains(name) || is_service_link(name, value) {
        return None;
    }
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let meant = near.filter(|(apart, _)| *apart <= 3).map(|(_, known)| format!("; was {known} meant?"));
    Some(format!("no flag reads {name}{}", meant.unwrap_or_default()))
}

/// Whether a kubelet has set it because of a Service whose name begins with `tokensmith`.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let address = value.to_str().is_some_and(|value| value.contains("://"));
    let of_port = |protocol: &&str| name.contains("_PORT_") && name.contains(*protocol);
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && address)
        || ["_TCP", "_UDP", "_SCTP"].iter().any(of_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Vec<OsString> {
        args.iter().map(Into::into).collect()
    }

    #[test]
    fn an_empty_list_is_not_given() {
        let lists = lists(&Cli::command());
        let without = |given: &[&str]| without_empty_lists(&lists, args(given));
        assert_eq!(
            without(&["t", "serve", "--tls-san=", "--api-audiences", "", "--force"]),
            args(&["t", "serve", "--force"])
        );
        let kept = ["t", "serve", "--tls-san", "a", "--api-audiences=b", "--data-dir=", "--", "--tls-san="];
        assert_eq!(without(&kept), args(&kept));
        let read = read(args(&["t", "serve", "--authorization-mode="]));
        assert!(
            matches!(read.map(|cli| cli.command), Ok(crate::args::Command::Serve(serve)) if serve.authorization_mode.len() == 2)
        );
    }

    #[test]
    fn a_switch_is_written_as_gos_are() {
        for (text, on) in
            [("1", true), ("T", true), ("True", true), ("0", false), ("f", false), ("FALSE", false)]
        {
            let read = read(args(&["t", "serve", &format!("--anonymous-auth={text}")]));
            assert!(
                matches!(read.map(|cli| cli.command), Ok(crate::args::Command::Serve(serve)) if serve.anonymous_auth == on),
                "{text}"
            );
        }
        assert!(read(args(&["t", "serve", "--anonymous-auth=yes"])).is_err());
    }

    #[test]
    fn days_are_for_people_and_flags_of_kubernetes_are_gos() {
        let all = command();
        let spans = |command: &Command| {
            let of = TypeId::of::<GoDuration>();
            let own = command.get_arguments().filter(|arg| arg.get_value_parser().type_id() == of);
            own.filter_map(|arg| arg.get_long()).map(str::to_owned).collect::<Vec<_>>()
        };
        for (line, flags) in [
            (&["serve"][..], spans(all.find_subcommand("serve").unwrap())),
            (&["clock"], spans(all.find_subcommand("clock").unwrap())),
            (&["healthcheck"], spans(all.find_subcommand("healthcheck").unwrap())),
            (&["project", "--all", "--root=r"], spans(all.find_subcommand("project").unwrap())),
            (&["proxy", "--service-account=a"], vec!["expiration".into()]),
            (&["token", "create", "x"], vec!["duration".into()]),
        ] {
            assert!(!flags.is_empty(), "{line:?}");
            for flag in flags {
                let length = format!("--{flag}=1w2d");
                let given = [&["t"][..], line, &[length.as_str()]].concat();
                let gos = ["duration", "event-ttl", "service-account-max-token-expiration"];
                assert_eq!(read(args(&given)).is_err(), gos.contains(&flag.as_str()), "{given:?}");
            }
        }
    }

    #[test]
    fn what_is_kept_nowhere_has_no_folder() {
        let failure = read(args(&["t", "serve", "--ephemeral", "--data-dir=d"])).err();
        let told = Failure::usage("--ephemeral keeps nothing: it cannot be used with --data-dir");
        assert_eq!(failure, Some(told));
    }

    #[test]
    fn a_variable_that_no_flag_reads_is_told() {
        let known = variables(&Cli::command());
        let told = |name: &str, value: &str| stranger(&known, name.as_ref(), value.as_ref());
        let near = "no flag reads TOKENSMITH_DATA_DRI; was TOKENSMITH_DATA_DIR meant?";
        assert_eq!(told("TOKENSMITH_DATA_DRI", "x").as_deref(), Some(near));
        assert_eq!(told("TOKENSMITH_WEATHER", "x").as_deref(), Some("no flag reads TOKENSMITH_WEATHER"));
        for (name, value) in [
            ("HOME", "x"),
            ("TOKENSMITH_DATA_DIR", "x"),
            ("TOKENSMITH_LOG", "debug"),
            ("TOKENSMITH_SERVICE_HOST", "10.0.0.1"),
            ("TOKENSMITH_SERVICE_PORT_HTTPS", "443"),
            ("TOKENSMITH_PORT", "tcp://10.0.0.1:443"),
            ("TOKENSMITH_PORT_443_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(told(name, value), None, "{name}");
        }
    }
}
