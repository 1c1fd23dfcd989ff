//! Trust policies in IAM's JSON
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>), as far as web identities go.
//!
//! Promises: what is not understood is refused when the policy is read, and never passed over; a statement that denies wins
//! over all that allow; nothing is allowed that no statement allows.

mod condition;
mod pattern;
mod principal;

use std::fmt;

use serde_json::{Map, Value};

use condition::Condition;
pub(super) use condition::Context;
use pattern::Pattern;
use principal::Principals;

/// Why a policy cannot be used: where in it, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub(super) struct PolicyError {
    place: String,
    why: String,
}

impl PolicyError {
    fn new(place: impl Into<String>, why: impl Into<String>) -> Self {
        PolicyError { place: place.into(), why: why.into() }
    }
}

/// Who may take on a role.
#[derive(Clone, Debug)]
pub(super) struct TrustPolicy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    /// Its `Sid`, or its number.
    name: String,
    denies: bool,
    actions: Vec<Pattern>,
    principals: Principals,
    conditions: Vec<Condition>,
}

/// What is asked of a policy.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) action: &'a str,
    /// The ARN of the provider.
    pub(super) provider: &'a str,
    pub(super) context: &'a Context,
}

/// Why something is not allowed; for the log, since AWS tells strangers no more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotAllowed {
    /// The statement of this name denies it.
    Denied(String),
    /// No statement is about this action and provider.
    Silent,
    /// The nearest statement, and its condition that does not hold.
    Unmet { statement: String, condition: String },
}

/// The longest that an account's quota can be raised to
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>): white space is not counted.
const MAX_LENGTH: usize = 4096;

impl TrustPolicy {
    /// Reads the policy of a role whose account has these providers, by their ARNs.
    pub(super) fn parse(document: &Value, providers: &[String]) -> Result<Self, PolicyError> {
        let length = document.to_string().chars().filter(|c| !c.is_whitespace()).count();
        if length > MAX_LENGTH {
            return Err(PolicyError::new(
                "the policy",
                format!("it has {length} characters, and AWS takes {MAX_LENGTH}"),
            ));
        }
        let document = object(document, "the policy")?;
        known(document, "the policy", &["Version", "Id", "Statement"])?;
        let variables = match document.get("Version").map(|version| version.as_str()) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            Some(_) => return Err(PolicyError::new("Version", "it is 2012-10-17 or 2008-10-17")),
        };
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(one) => vec![one],
            None => return Err(PolicyError::new("the policy", "there is no Statement")),
        };
        let numbered = statements.into_iter().enumerate();
        let read = numbered.map(|(at, statement)| {
            let read = Statement::parse(statement, at + 1, variables, providers);
            read.map_err(|e| PolicyError { place: format!("Statement {}: {}", at + 1, e.place), ..e })
        });
        Ok(TrustPolicy { statements: read.collect::<Result<_, _>>()? })
    }

    /// Whether something is allowed.
    pub(super) fn allows(&self, asked: &Asked<'_>) -> Result<(), NotAllowed> {
        let (mut allowed, mut nearest) = (false, NotAllowed::Silent);
        for statement in self.statements.iter().filter(|statement| statement.concerns(asked)) {
            match statement.conditions.iter().find(|condition| !condition.holds(asked.context)) {
                None if statement.denies => return Err(NotAllowed::Denied(statement.name.clone())),
                None => allowed = true,
                Some(unmet) if !statement.denies && nearest == NotAllowed::Silent => {
                    let (statement, condition) = (statement.name.clone(), unmet.told(asked.context));
                    nearest = NotAllowed::Unmet { statement, condition };
                }
                Some(_) => {}
            }
        }
        if allowed { Ok(()) } else { Err(nearest) }
    }
}

impl Statement {
    fn parse(
        statement: &Value,
        number: usize,
        variables: bool,
        providers: &[String],
    ) -> Result<Self, PolicyError> {
        let statement = object(statement, "the statement")?;
        known(statement, "the statement", &["Sid", "Effect", "Principal", "Action", "Condition"])?;
        let part = |name: &str| {
            statement
                .get(name)
                .ok_or_else(|| PolicyError::new("the statement", format!("there is no {name}")))
        };
        let denies = match part("Effect")?.as_str() {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err(PolicyError::new("Effect", "it is Allow or Deny")),
        };
        let name = match statement.get("Sid") {
            None => format!("{number}"),
            Some(Value::String(sid)) => sid.clone(),
            Some(_) => return Err(PolicyError::new("Sid", "it is a text")),
        };
        let actions = strings(part("Action")?, "Action")?;
        let actions = actions.iter().map(|action| self::action(action)).collect::<Result<_, _>>()?;
        let mut conditions = Vec::new();
        if let Some(block) = statement.get("Condition") {
            for (operator, keys) in object(block, "Condition")? {
                for (key, values) in object(keys, &format!("Condition.{operator}"))? {
                    conditions.push(Condition::parse(operator, key, values, variables)?);
                }
            }
        }
        let principals = Principals::parse(part("Principal")?, providers)?;
        Ok(Statement { name, denies, actions, principals, conditions })
    }

    /// Whether it is about what is asked, its conditions aside.
    fn concerns(&self, asked: &Asked<'_>) -> bool {
        let action = asked.action.to_lowercase();
        self.principals.has(asked.provider) && self.actions.iter().any(|pattern| pattern.matches(&action))
    }
}

/// The actions that a trust policy may be about
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html>), in lower case.
const ACTIONS: [&str; 6] = [
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:setcontext",
    "sts:setsourceidentity",
    "sts:tagsession",
];

/// An action, or a pattern of some. The names of actions are compared without regard to case; what none of them is, is misspelt.
fn action(text: &str) -> Result<Pattern, PolicyError> {
    let pattern = Pattern::new(&text.to_lowercase());
    if ACTIONS.iter().any(|action| pattern.matches(action)) {
        return Ok(pattern);
    }
    let why = format!(
        "{text:?} is no action of a trust policy: sts:AssumeRoleWithWebIdentity, sts:TagSession and sts:SetSourceIdentity are for web identities"
    );
    Err(PolicyError::new("Action", why))
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAllowed::Denied(statement) => write!(f, "the statement {statement} denies it"),
            NotAllowed::Silent => f.write_str("no statement allows it for this provider"),
            NotAllowed::Unmet { statement, condition } => {
                write!(f, "the condition {condition} of the statement {statement} does not hold")
            }
        }
    }
}

fn object<'a>(value: &'a Value, place: &str) -> Result<&'a Map<String, Value>, PolicyError> {
    value.as_object().ok_or_else(|| PolicyError::new(place, "it is no object"))
}

fn known(object: &Map<String, Value>, place: &str, names: &[&str]) -> Result<(), PolicyError> {
    match object.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => {
            Err(PolicyError::new(place, format!("{name} is not understood in a trust policy here")))
        }
        None => Ok(()),
    }
}

/// A text, a number or a truth value, or a list of them.
fn strings(value: &Value, place: &str) -> Result<Vec<String>, PolicyError> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(PolicyError::new(place, "it is a text, or a list of texts")),
    };
    match value {
        Value::Array(list) if list.is_empty() => Err(PolicyError::new(place, "there is nothing in it")),
        Value::Array(list) => list.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.example.com";

    fn parse(document: &Value) -> Result<TrustPolicy, PolicyError> {
        TrustPolicy::parse(document, &[PROVIDER.to_owned()])
    }

    fn decide(statements: &Value, sub: &str) -> Result<(), NotAllowed> {
        let policy = parse(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap();
        let mut context = Context::default();
        context.set("oidc.example.com:sub", [sub.to_owned()]);
        let asked = Asked { action: "sts:AssumeRoleWithWebIdentity", provider: PROVIDER, context: &context };
        policy.allows(&asked)
    }

    fn statement(effect: &str, sub: &str) -> Value {
        json!({
            "Effect": effect,
            "Principal": {"Federated": PROVIDER},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringLike": {"oidc.example.com:sub": sub}},
        })
    }

    #[test]
    fn what_denies_wins_and_what_nobody_allows_is_refused() {
        let unmet =
            NotAllowed::Unmet { statement: "1".into(), condition: "StringLike oidc.example.com:sub".into() };
        for (statements, want) in [
            (json!([statement("Allow", "a*")]), Ok(())),
            (json!(statement("Allow", "a*")), Ok(())),
            (json!([statement("Allow", "b*")]), Err(unmet)),
            (json!([statement("Allow", "b*"), statement("Allow", "*c")]), Ok(())),
            (json!([statement("Allow", "*"), statement("Deny", "ab*")]), Err(NotAllowed::Denied("2".into()))),
            (json!([statement("Deny", "b*"), statement("Allow", "*")]), Ok(())),
            (json!([]), Err(NotAllowed::Silent)),
        ] {
            assert_eq!(decide(&statements, "abc"), want, "{statements}");
        }
    }

    #[test]
    fn actions_and_principals() {
        let with = |part: &str, value: Value| {
            let mut statement = statement("Allow", "*");
            statement[part] = value;
            decide(&statement, "a").is_ok()
        };
        for (part, value, want) in [
            ("Action", json!("STS:assumerolewithwebidentity"), true),
            ("Action", json!(["sts:TagSession", "sts:AssumeRoleWith*"]), true),
            ("Action", json!("sts:AssumeRole"), false),
            ("Principal", json!("*"), true),
            ("Principal", json!({"AWS": "*"}), true),
            ("Principal", json!({"AWS": "arn:aws:iam::123456789012:root"}), false),
            ("Principal", json!({"Federated": ["cognito-identity.amazonaws.com", PROVIDER]}), true),
            ("Principal", json!({"Federated": "arn:aws:iam::123456789012:saml-provider/x"}), false),
            ("Principal", json!({"Service": "ec2.amazonaws.com"}), false),
        ] {
            assert_eq!(with(part, value.clone()), want, "{part} {value}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let with = |part: &str, value: Value| {
            let mut statement = statement("Allow", "*");
            statement[part] = value;
            statement
        };
        let mut more = statement("Allow", "*");
        more["Resource"] = json!("*");
        let mut other = statement("Allow", "*");
        other["Principal"] = json!({"Federated": "arn:aws:iam::123456789012:oidc-provider/*"});
        for (document, why) in [
            (json!({"Statement": more}), "Resource"),
            (json!({"Statement": other}), "wildcards"),
            (json!({"Statement": statement("allow", "*")}), "Effect"),
            (json!({"Version": "2020-01-01", "Statement": []}), "Version"),
            (json!({"Statements": []}), "Statements"),
            (json!({}), "no Statement"),
            (json!("{}"), "no object"),
            (json!({"Statement": [{"Effect": "Allow", "NotAction": "x", "Principal": "*"}]}), "NotAction"),
            (json!({"Id": "x".repeat(5000), "Statement": []}), "characters"),
            (
                json!({"Statement": with("Action", json!("sts:AssumeRoleWithWebIdentiy"))}),
                "no action of a trust policy",
            ),
            (
                json!({"Statement": with("Action", json!(["sts:TagSession", "AssumeRoleWithWebIdentity"]))}),
                "no action",
            ),
            (json!({"Statement": with("Action", json!("s3:*"))}), "no action"),
            (json!({"Statement": with("Action", json!([]))}), "Action: there is nothing in it"),
            (
                json!({"Statement": with("Condition", json!({"StringEquals": {"a:b": []}}))}),
                "there is nothing in it",
            ),
        ] {
            let error = parse(&document).unwrap_err().to_string();
            assert!(error.contains(why), "{document} {error}");
        }
    }
}
