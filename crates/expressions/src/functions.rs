//! The functions that there are: most are the library's; those whose cost is not their operands' size are written here.

use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelInt, CelList, CelString, DYN_TYPE, INT_TYPE, LIST_TYPE, STRING_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError, extensions};
use regex::{Regex, RegexBuilder};

use crate::extract::extract;
use crate::meter::{self, Exhausted, spend, spend_bytes};

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;
type Function = for<'b, 'v> fn(Arguments<'b, 'v>) -> Outcome<'b, 'v>;

/// A turn of a loop, of so many steps. No text can name it, as none of those here.
pub(crate) const TICK: &str = "@tick";
/// Its operand, paid for.
pub(crate) const CHARGE: &str = "@charge";
/// With a pattern that is worked out.
pub(crate) const MATCHES: &str = "@matches";
/// With a pattern of the text's, by its number.
pub(crate) const KNOWN_MATCH: &str = "@known_match";

/// How a function is called in a text, with how many arguments (as a method: besides what it is called on), and what it
/// is called here.
const FUNCTIONS: &[(&str, bool, &[usize], &str)] = &[
    ("bool", false, &[1], "bool"),
    ("bytes", false, &[1], "bytes"),
    ("double", false, &[1], "double"),
    ("dyn", false, &[1], "dyn"),
    ("int", false, &[1], "int"),
    ("matches", false, &[2], MATCHES),
    ("size", false, &[1], "size"),
    ("string", false, &[1], "string"),
    ("type", false, &[1], "type"),
    ("uint", false, &[1], "uint"),
    ("charAt", true, &[1], "charAt"),
    ("contains", true, &[1], "contains"),
    ("endsWith", true, &[1], "endsWith"),
    ("extract", true, &[1], "@extract"),
    ("indexOf", true, &[1], "@index_of"),
    ("join", true, &[0, 1], "@join"),
    ("lastIndexOf", true, &[1], "@last_index_of"),
    ("lowerAscii", true, &[0], "lowerAscii"),
    ("matches", true, &[1], MATCHES),
    ("replace", true, &[2], "@replace"),
    ("size", true, &[0], "size"),
    ("split", true, &[1], "@split"),
    ("startsWith", true, &[1], "startsWith"),
    ("substring", true, &[1, 2], "substring"),
    ("trim", true, &[0], "trim"),
    ("upperAscii", true, &[0], "upperAscii"),
];

/// What a function is called here.
pub(crate) fn find(name: &str, member: bool, arguments: usize) -> Result<&'static str, String> {
    let mut named = FUNCTIONS.iter().filter(|(known, ..)| *known == name).peekable();
    if named.peek().is_none() {
        return Err(format!("undeclared function '{name}'"));
    }
    let mut styled = named.filter(|(_, style, ..)| *style == member).peekable();
    if styled.peek().is_none() {
        let right = if member { format!("{name}(…)") } else { format!("x.{name}(…)") };
        return Err(format!("'{name}' is called as {right}"));
    }
    match styled.find(|(_, _, counts, _)| counts.contains(&arguments)) {
        Some((.., ours)) => Ok(ours),
        None => Err(format!("'{name}' does not take {arguments} arguments")),
    }
}

/// All that expressions can call.
pub(crate) fn environment() -> Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> =
        LazyLock::new(|| Arc::new(built().expect("each name below is declared once")));
    ENVIRONMENT.clone()
}

fn built() -> Result<Env, DeclarationError> {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    env.add_extension(extensions::strings)?;
    let globals: [(&str, Vec<Type>, Function); 4] = [
        (TICK, vec![INT_TYPE], tick),
        (CHARGE, vec![DYN_TYPE], charge),
        (MATCHES, vec![STRING_TYPE, STRING_TYPE], matches),
        (KNOWN_MATCH, vec![STRING_TYPE, INT_TYPE], known_match),
    ];
    for (name, arguments, function) in globals {
        env.add_overload(name, name, arguments, function)?;
    }
    let methods: [(&str, Type, Vec<Type>, Function); 9] = [
        (MATCHES, STRING_TYPE, vec![STRING_TYPE], matches),
        (KNOWN_MATCH, STRING_TYPE, vec![INT_TYPE], known_match),
        ("@extract", STRING_TYPE, vec![STRING_TYPE], extracted),
        ("@index_of", STRING_TYPE, vec![STRING_TYPE], index_of),
        ("@join", LIST_TYPE, vec![], join),
        ("@join", LIST_TYPE, vec![STRING_TYPE], join),
        ("@last_index_of", STRING_TYPE, vec![STRING_TYPE], last_index_of),
        ("@replace", STRING_TYPE, vec![STRING_TYPE, STRING_TYPE], replace),
        ("@split", STRING_TYPE, vec![STRING_TYPE], split),
    ];
    for (name, on, arguments, function) in methods {
        let id = format!("{name} on {}", arguments.len());
        env.add_member_overload(name, &id, on, arguments, function)?;
    }
    Ok(env)
}

/// Reads a pattern, one that is no larger than any condition needs. The library's matching is linear in the text.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    const COMPILED: usize = 256 << 10;
    let built = RegexBuilder::new(text).size_limit(COMPILED).dfa_size_limit(COMPILED).nest_limit(32).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        // Its texts draw the pattern on several lines, and say why on the last.
        error => {
            let said = error.to_string();
            let why = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("no regular expression: {why}")
        }
    })
}

impl From<Exhausted> for ExecutionError {
    fn from(_: Exhausted) -> Self {
        ExecutionError::function_error("budget", "used up")
    }
}

fn tick<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let steps = integer(&args, 0)?;
    spend(u64::try_from(steps).unwrap_or(u64::MAX))?;
    Ok(CowVal::owned(CelBool::from(true)))
}

fn charge<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let value = args.into_iter().next().ok_or_else(ExecutionError::missing_argument_or_target)?;
    meter::charge(value.as_ref())?;
    Ok(value)
}

/// To read a pattern costs far more than to use it.
const READING: u64 = 5_000;

fn matches<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (text, wanted) = (text(&args, 0)?, text(&args, 1)?);
    spend(READING)?;
    let pattern = pattern(wanted).map_err(|why| ExecutionError::function_error("matches", why))?;
    matched(&pattern, text)
}

fn known_match<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let number = usize::try_from(integer(&args, 1)?).unwrap_or(usize::MAX);
    let text = text(&args, 0)?;
    let outcome = meter::with_pattern(number, |pattern| matched(pattern, text));
    outcome.unwrap_or_else(|| Err(ExecutionError::function_error("matches", "there is no such pattern")))
}

fn matched<'b, 'v>(pattern: &Regex, text: &str) -> Outcome<'b, 'v> {
    // At worst each byte of the text meets each state, and a pattern has some for each of its bytes.
    spend_bytes(text.len().saturating_mul(pattern.as_str().len() / 8))?;
    Ok(CowVal::owned(CelBool::from(pattern.is_match(text))))
}

fn extracted<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let found = extract(text(&args, 0)?, text(&args, 1)?)
        .map_err(|why| ExecutionError::function_error("extract", why))?;
    Ok(CowVal::owned(CelString::from(found.to_owned())))
}

fn index_of<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = text(&args, 0)?;
    Ok(place(text, text.find(self::text(&args, 1)?)))
}

fn last_index_of<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let text = text(&args, 0)?;
    Ok(place(text, text.rfind(self::text(&args, 1)?)))
}

/// In characters; -1 where it is not.
fn place<'b, 'v>(text: &str, at: Option<usize>) -> CowVal<'b, 'v> {
    let before = at.and_then(|at| text.get(..at)).map(|before| before.chars().count());
    let index = before.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1);
    CowVal::owned(CelInt::from(index))
}

fn split<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (text, separator) = (text(&args, 0)?, text(&args, 1)?);
    let mut parts: Vec<Box<dyn Val>> = Vec::new();
    let mut push = |part: &str| {
        spend(2)?;
        parts.push(Box::new(CelString::from(part.to_owned())));
        Ok::<(), ExecutionError>(())
    };
    if separator.is_empty() {
        // Between its characters, with nothing before the first and after the last.
        let mut buffer = [0; 4];
        text.chars().try_for_each(|c| push(c.encode_utf8(&mut buffer)))?;
    } else {
        text.split(separator).try_for_each(push)?;
    }
    Ok(CowVal::owned(CelList::from(parts)))
}

fn join<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let separator = if args.len() > 1 { text(&args, 1)? } else { "" };
    let list = args.first().and_then(|list| list.downcast_ref::<CelList>());
    let list = list.ok_or_else(|| unexpected("list"))?;
    let mut joined = String::new();
    for (at, item) in list.inner().iter().enumerate() {
        let item = item.downcast_ref::<CelString>().ok_or_else(|| unexpected("list of strings"))?;
        if at > 0 {
            spend_bytes(separator.len())?;
            joined.push_str(separator);
        }
        joined.push_str(item.inner());
    }
    Ok(CowVal::owned(CelString::from(joined)))
}

fn replace<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let (text, from, to) = (text(&args, 0)?, text(&args, 1)?, text(&args, 2)?);
    for _ in text.matches(from) {
        spend(1)?;
        spend_bytes(to.len())?;
    }
    Ok(CowVal::owned(CelString::from(text.replace(from, to))))
}

fn text<'a>(args: &'a Arguments<'_, '_>, at: usize) -> Result<&'a str, ExecutionError> {
    let text = args.get(at).and_then(|value| value.downcast_ref::<CelString>());
    text.map(CelString::inner).ok_or_else(|| unexpected("string"))
}

fn integer(args: &Arguments<'_, '_>, at: usize) -> Result<i64, ExecutionError> {
    let number = args.get(at).and_then(|value| value.downcast_ref::<CelInt>());
    number.map(|number| *number.inner()).ok_or_else(|| unexpected("int"))
}

fn unexpected(want: &str) -> ExecutionError {
    ExecutionError::UnexpectedType { got: String::new(), want: want.to_owned() }
}
