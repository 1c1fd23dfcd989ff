//! Which rule decides.

use std::cell::OnceCell;

use serde_json::{Map, Value};
use tokensmith_core::view::Snapshot;
use tokensmith_expressions::{Budget, EvaluationError, Variables};

use super::Shown;
use super::facts::Facts;
use crate::actor;
use crate::budget::{too_costly, within_budget};
use crate::endpoint::Endpoint;
use crate::oauth::{Code, Refusal};
use crate::policy::{Fallen, GrantType, Lacks, Policy, Rule, Wanted};
use crate::said;

/// A rule that gives all that is asked, and what.
pub(super) struct Given<'a> {
    pub(super) rule: &'a Rule,
    pub(super) audiences: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
}

/// What expressions read: those about the subject, and conditions on actors.
struct Known<'a> {
    subject: Variables<'a>,
    actor: Variables<'a>,
}

/// The first rule, in the file's order, that means the subject and gives all that is asked; and what it gives. Where there is none, what
/// came closest to it decides what is told.
pub(super) async fn choose<'a>(
    here: &Endpoint,
    policy: &'a Policy,
    shown: &Shown,
    wanted: &Wanted,
) -> Result<Given<'a>, Refusal> {
    let chosen = |budget: &Budget| chosen(here, policy, shown, wanted, budget);
    within_budget(&shown.client().name, chosen, |why| refused(shown.grant, why)).await
}

/// Of the objects as they are now.
fn chosen<'a>(
    here: &Endpoint,
    policy: &'a Policy,
    shown: &Shown,
    wanted: &Wanted,
    budget: &Budget,
) -> Result<Given<'a>, Refusal> {
    let objects = here.view.snapshot();
    let within = shown.subject.scopes();
    // Made for the first rule that reads them: most policies compute nothing for most subjects.
    let (facts, made) = (OnceCell::new(), OnceCell::new());
    let nothing = Known { subject: Variables::new(), actor: Variables::new() };
    let mut closest: Option<(Lacks, &Rule, Option<Because<'_>>)> = None;
    for rule in policy.rules.of(&shown.subject) {
        if !rule.grants.contains(&shown.grant) {
            continue;
        }
        let short = match rule.from.names(&shown.subject, &objects) {
            false => (Lacks::Subject, None),
            true => {
                let known = match (rule.computes(), made.get()) {
                    (false, _) => &nothing,
                    (true, Some(known)) => known,
                    (true, None) => {
                        let facts = facts.get_or_init(|| all_facts(here, shown, wanted, &objects));
                        let known = Known::of(facts, budget).map_err(|why| refused(shown.grant, why))?;
                        made.get_or_init(|| known)
                    }
                };
                let considered = consider(rule, shown, (wanted, within.as_deref()), &objects, known);
                if budget.is_exhausted() {
                    return Err(refused(shown.grant, too_costly()).by_rule(&rule.name));
                }
                match considered {
                    Ok((audiences, scopes)) => {
                        let broken =
                            |e: EvaluationError| refused(shown.grant, e.to_string()).by_rule(&rule.name);
                        let subject = rule.subject(&shown.subject, &known.subject).map_err(broken)?;
                        let claims = rule.claims(&known.subject).map_err(broken)?;
                        return Ok(Given { rule, audiences, scopes, subject, claims });
                    }
                    Err(short) => short,
                }
            }
        };
        let (lacks, because) = short;
        if closest.as_ref().is_none_or(|(before, ..)| lacks > *before) {
            closest = Some((lacks, rule, because));
        }
    }
    Err(match closest {
        None | Some((Lacks::Subject, ..)) => refused(shown.grant, "no rule means the subject".into()),
        // As if there were no such rule: what it asks for is nobody's business.
        Some((Lacks::Condition, rule, because)) => {
            let why = format!("the rule does not mean the subject{}", Because::after(": ", because.as_ref()));
            refused(shown.grant, why).by_rule(&rule.name)
        }
        Some((Lacks::Actor, rule, because)) => {
            let because = Because::after(": ", because.as_ref());
            let why = format!("the rule lets nobody act for the subject, or not this actor{because}");
            Refusal::because(Code::InvalidRequest, GRANTED, why).by_rule(&rule.name)
        }
        Some((Lacks::Target, rule, because)) => {
            let told = "no token is issued for what was asked";
            let why = format!("{}{}", no_target(wanted), Because::after("; ", because.as_ref()));
            Refusal::because(Code::InvalidTarget, told, why).by_rule(&rule.name)
        }
        Some((Lacks::Scope, rule, _)) => {
            let asked = said::texts(wanted.scopes.as_deref().unwrap_or_default());
            let why = format!("the rule does not give a scope that was asked: scopes {asked}");
            Refusal::because(Code::InvalidScope, "the scope is not granted", why).by_rule(&rule.name)
        }
    })
}

const GRANTED: &str = "the request is not granted";

/// Told as where no rule means the subject.
pub(super) fn refused(grant: GrantType, why: String) -> Refusal {
    Refusal::because(not_given(grant), GRANTED, why)
}

/// About the subject, and about the actor if there is one.
fn all_facts<'a>(
    here: &Endpoint,
    shown: &'a Shown,
    wanted: &Wanted,
    objects: &Snapshot,
) -> (Facts<'a>, Option<Facts<'a>>) {
    let actor = shown.actor.as_ref();
    let acting = actor.map(|actor| here.facts(actor, None, Some(wanted), objects));
    (here.facts(&shown.subject, actor, Some(wanted), objects), acting)
}

impl<'a> Known<'a> {
    fn of((facts, acting): &'a (Facts<'a>, Option<Facts<'a>>), budget: &'a Budget) -> Result<Self, String> {
        let actor = acting.as_ref().map(|facts| facts.variables(budget)).transpose()?;
        Ok(Known { subject: facts.variables(budget)?, actor: actor.unwrap_or_default() })
    }
}

/// What was asked that the rule does not give.
fn no_target(wanted: &Wanted) -> String {
    match wanted.audiences.is_empty() && wanted.resources.is_empty() {
        true => "no audience was asked for, and the rule names none to give instead".to_owned(),
        false => format!(
            "the rule does not give what was asked: audiences {}, resources {}",
            said::texts(&wanted.audiences),
            said::texts(&wanted.resources)
        ),
    }
}

/// The expression that a rule falls by.
enum Because<'a> {
    Condition(Fallen<'a>),
    NoAudiences(EvaluationError),
}

impl Because<'_> {
    /// Behind what is said already.
    fn after(between: &str, because: Option<&Self>) -> String {
        match because {
            None => String::new(),
            Some(Because::Condition(fallen)) => format!("{between}{fallen}"),
            Some(Because::NoAudiences(e)) => format!("{between}its audiencesFrom has no value: {e}"),
        }
    }
}

/// What a rule lacks.
type Short<'a> = (Lacks, Option<Because<'a>>);

/// The audiences and the scopes that a rule about the subject gives.
fn consider<'a>(
    rule: &'a Rule,
    shown: &Shown,
    (wanted, within): (&Wanted, Option<&[String]>),
    objects: &Snapshot,
    known: &Known<'_>,
) -> Result<(Vec<String>, Vec<String>), Short<'a>> {
    rule.from.holds(&known.subject).map_err(|fallen| (Lacks::Condition, Some(Because::Condition(fallen))))?;
    acts(rule, shown, objects, &known.actor)
        .map_err(|fallen| (Lacks::Actor, fallen.map(Because::Condition)))?;
    let audiences = rule
        .targets(wanted, &known.subject)
        .map_err(|error| (Lacks::Target, error.map(Because::NoAudiences)))?;
    let scopes = rule.scopes(wanted, within).map_err(|lacks| (lacks, None))?;
    Ok((audiences, scopes))
}

/// Whether the actor may act, or there need be none. Conditions on actors read what is known of the actor. `Err`: the first condition
/// that keeps the actor out, if one does.
fn acts<'a>(
    rule: &'a Rule,
    shown: &Shown,
    objects: &Snapshot,
    variables: &Variables<'_>,
) -> Result<(), Option<Fallen<'a>>> {
    let (actors, who) = match (&rule.actors, &shown.actor) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(None),
        (Some(actors), None) => return if actors.required { Err(None) } else { Ok(()) },
        (Some(actors), Some(who)) => (actors, who),
    };
    let named = actor::may_act(&shown.subject, who).unwrap_or(!actors.must_be_named());
    if !named {
        return Err(None);
    }
    let mut first = None;
    for from in actors.from.iter().filter(|from| from.names(who, objects)) {
        match from.holds(variables) {
            Ok(()) => return Ok(()),
            Err(fallen) => first = first.or(Some(fallen)),
        }
    }
    Err(first)
}

/// What is told of a subject that no rule means.
pub(super) fn not_given(grant: GrantType) -> Code {
    match grant {
        GrantType::ClientCredentials => Code::UnauthorizedClient,
        GrantType::JwtBearer => Code::InvalidGrant,
        // RFC 8693 §2.2.2
        GrantType::TokenExchange => Code::InvalidRequest,
    }
}

/// What is told of a token that does not count.
pub(super) fn refused_as(grant: GrantType) -> Code {
    match grant {
        GrantType::ClientCredentials => Code::InvalidClient,
        GrantType::JwtBearer => Code::InvalidGrant,
        GrantType::TokenExchange => Code::InvalidRequest,
    }
}
