//! What a provider makes of a token: attributes by its mapping, and whether its condition lets the bearer in (IAM API,
//! `WorkloadIdentityPoolProvider.attributeMapping` and `attributeCondition`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokensmith_api::yaml::{ConfigError, Placed};
use tokensmith_expressions::{Budget, EvaluationError, Expression, Variables};

use super::refusal::Refusal;

/// `google.subject` cannot exceed so many bytes.
const SUBJECT: usize = 127;
/// How many attributes of one's own there may be, and how long the name of one.
const CUSTOM: usize = 50;
const CUSTOM_NAME: usize = 100;
/// How long an expression may be, in characters.
const EXPRESSION: usize = 2048;
const CONDITION: usize = 4096;
/// How large all attributes of one token may be, in bytes.
const TOTAL: usize = 8 << 10;

/// A provider's expressions.
#[derive(Debug)]
pub(super) struct Mapping {
    subject: Arc<Expression>,
    groups: Option<Arc<Expression>>,
    custom: Vec<(String, Arc<Expression>)>,
    condition: Option<Arc<Expression>>,
}

/// Expressions by their texts, mappings and conditions apart: of ten thousand providers most have the same few, and compiling
/// one takes a thread.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    mappings: HashMap<String, Arc<Expression>>,
    conditions: HashMap<String, Arc<Expression>>,
}

/// What they make of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `google.subject`.
    pub(super) subject: String,
    /// `google.groups`.
    pub(super) groups: Vec<String>,
    /// `attribute.NAME`.
    pub(super) custom: BTreeMap<String, String>,
}

impl Mapping {
    /// Compiles them.
    pub(super) fn new(
        mapping: &Placed<BTreeMap<String, Placed<String>>>,
        condition: Option<&Placed<String>>,
        compiled: &mut Compiled,
    ) -> Result<Self, ConfigError> {
        let (mut subject, mut groups, mut custom) = (None, None, Vec::new());
        for (key, text) in &mapping.value {
            let expression = compiled.mapping(text)?;
            match key.as_str() {
                "google.subject" => subject = Some(expression),
                "google.groups" => groups = Some(expression),
                _ => custom.push((custom_name(key).map_err(|why| text.refuse(why))?.to_owned(), expression)),
            }
        }
        if custom.len() > CUSTOM {
            return Err(
                mapping.refuse(format!("there are {} custom attributes, and {CUSTOM} may be", custom.len()))
            );
        }
        let missing = || mapping.refuse("there is no google.subject in attributeMapping");
        let condition = condition.map(|text| compiled.condition(text));
        Ok(Mapping {
            subject: subject.ok_or_else(missing)?,
            groups,
            custom,
            condition: condition.transpose()?,
        })
    }

    /// Whether members of groups are told apart.
    pub(super) fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// The names of the attributes of one's own.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.custom.iter().map(|(name, _)| name.as_str())
    }

    /// What the claims of a token that holds come to.
    ///
    /// The condition is asked first, and one that cannot be worked out (a claim that it names is missing) refuses: that is
    /// what Google answers for a token without `sub` to a provider with a condition on it.
    pub(super) fn apply(&self, claims: &Map<String, Value>) -> Result<Attributes, Refusal> {
        // They are what later expressions read, so they live as long.
        let (custom, google, budget);
        // One for all of them: fifty attributes are no fifty times as long.
        budget = Budget::new(Expression::BUDGET);
        let mut variables = Variables::within(&budget);
        variables
            .insert_object("assertion", claims)
            .map_err(|why| Refusal::invalid_grant(why.to_string()))?;
        let subject = self.subject.evaluate(&variables);
        let groups = self.groups.as_ref().and_then(|groups| groups.evaluate(&variables).ok());
        let named = self.custom.iter().filter_map(|(name, expression)| {
            // What is not there is left out: no binding and no condition can hold by it.
            Some((name.clone(), expression.evaluate(&variables).ok()?))
        });
        custom = Value::Object(named.collect());
        if let Some(condition) = &self.condition {
            let mapped = [("subject", subject.as_ref().ok()), ("groups", groups.as_ref())];
            let mapped =
                mapped.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
            google = Value::Object(mapped.collect());
            let named = [("google", &google), ("attribute", &custom)];
            let room = named.into_iter().try_for_each(|(name, value)| variables.insert(name, value));
            let held = room.map_err(|why| why.to_string());
            let judged = |()| condition.evaluate_bool(&variables).map_err(|why| why.to_string());
            let held = held.and_then(judged);
            if !matches!(held, Ok(true)) {
                let refusal = Refusal::unauthorized_client(
                    "The given credential is rejected by the attribute condition.",
                );
                return Err(match held {
                    Ok(_) => refusal.because("the attribute condition does not hold"),
                    Err(why) => {
                        refusal.because(format_args!("the attribute condition cannot be judged: {why}"))
                    }
                });
            }
        }
        if budget.is_exhausted() {
            // What was cut off is not what is not there.
            return Err(Refusal::invalid_grant("The attribute mapping takes too long for these claims."));
        }
        let attributes = Attributes {
            subject: self::subject(subject)?,
            groups: groups.map(self::groups).transpose()?.unwrap_or_default(),
            custom: self::custom(&custom)?,
        };
        if attributes.size() > TOTAL {
            return Err(Refusal::invalid_request(
                "The size of the mapped attributes exceeds the 8 KB limit.",
            ));
        }
        Ok(attributes)
    }
}

impl Attributes {
    fn size(&self) -> usize {
        let custom = self.custom.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let groups = self.groups.iter().map(String::len);
        custom.chain(groups).fold(self.subject.len(), usize::saturating_add)
    }
}

fn subject(value: Result<Value, EvaluationError>) -> Result<String, Refusal> {
    let none = || {
        Refusal::unauthorized_client("Could not obtain a value for google.subject from the given credential.")
    };
    match value {
        Ok(Value::String(subject)) if subject.len() > SUBJECT => Err(Refusal::invalid_request(
            "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or \
             the incoming assertion to produce a mapped attribute that is less than 127 bytes.",
        )),
        Ok(Value::String(subject)) if !subject.is_empty() => Ok(subject),
        Ok(Value::String(_)) => Err(none().because("google.subject comes out empty")),
        Ok(_) => Err(none().because("google.subject comes out as no text")),
        Err(why) => Err(none().because(format_args!("google.subject cannot be worked out: {why}"))),
    }
}

fn groups(value: Value) -> Result<Vec<String>, Refusal> {
    let texts = match value {
        Value::Array(all) => {
            all.into_iter().map(|one| if let Value::String(one) = one { Some(one) } else { None }).collect()
        }
        _ => None,
    };
    texts.ok_or_else(|| {
        Refusal::invalid_request("The mapped attribute google.groups must be a list of strings.")
    })
}

fn custom(values: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let texts = values.as_object().into_iter().flatten().map(|(name, value)| match value {
        Value::String(value) => Ok((name.clone(), value.clone())),
        _ => Err(Refusal::invalid_request(format!(
            "The mapped attribute attribute.{name} must be of type STRING."
        ))),
    });
    texts.collect()
}

/// `attribute.NAME` with a name of `[a-z0-9_]`.
fn custom_name(key: &str) -> Result<&str, String> {
    let name = key.strip_prefix("attribute.").filter(|name| {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        plain && (1..=CUSTOM_NAME).contains(&name.len())
    });
    name.ok_or_else(|| {
        format!(
            "{key:?} is neither google.subject, google.groups, nor attribute. and a name of at most {CUSTOM_NAME} of a-z0-9_"
        )
    })
}

impl Compiled {
    fn mapping(&mut self, text: &Placed<String>) -> Result<Arc<Expression>, ConfigError> {
        compile(&mut self.mappings, text, EXPRESSION, &["assertion"])
    }

    fn condition(&mut self, text: &Placed<String>) -> Result<Arc<Expression>, ConfigError> {
        compile(&mut self.conditions, text, CONDITION, &["assertion", "google", "attribute"])
    }
}

fn compile(
    known: &mut HashMap<String, Arc<Expression>>,
    text: &Placed<String>,
    limit: usize,
    variables: &[&str],
) -> Result<Arc<Expression>, ConfigError> {
    if let Some(known) = known.get(&text.value) {
        return Ok(known.clone());
    }
    let length = text.value.chars().count();
    if length > limit {
        return Err(text.refuse(format!("the expression has {length} characters, and {limit} may be")));
    }
    let expression = Arc::new(Expression::compile(&text.value, variables).map_err(|why| text.refuse(why))?);
    known.insert(text.value.clone(), expression.clone());
    Ok(expression)
}
