//! Which rule decides.

use tokensmith_core::view::Snapshot;
use tokensmith_expressions::Variables;

use super::Shown;
use crate::actor;
use crate::oauth::{Code, Refusal};
use crate::policy::{Fallen, GrantType, Lacks, Policy, Rule, Unmeant, Wanted, texts};
use crate::said;

/// A rule that gives all that is asked, and what.
pub(super) struct Given<'a> {
    pub(super) rule: &'a Rule,
    pub(super) audiences: Vec<String>,
    pub(super) scopes: Vec<String>,
}

/// The first rule, in the file's order, that means the subject and gives all that is asked. Where there is none, what came closest to it
/// decides what is told.
pub(super) fn choose<'a>(
    policy: &'a Policy,
    shown: &Shown,
    wanted: &Wanted,
    objects: &Snapshot,
    variables: &Variables<'_>,
    actors: Option<&Variables<'_>>,
) -> Result<Given<'a>, Refusal> {
    let within = shown.subject.scopes();
    let mut closest: Option<(Lacks, &Rule, Option<Fallen<'_>>)> = None;
    for rule in policy.rules.of(&shown.subject) {
        if !rule.grants.contains(&shown.grant) {
            continue;
        }
        let (lacks, fallen) =
            match consider(rule, shown, (wanted, within.as_deref()), objects, (variables, actors)) {
                Ok(given) => return Ok(given),
                Err(short) => short,
            };
        if closest.as_ref().is_none_or(|(before, ..)| lacks > *before) {
            closest = Some((lacks, rule, fallen));
        }
    }
    let granted = "the request is not granted";
    let because =
        |fallen: Option<Fallen<'_>>| fallen.map_or_else(String::new, |fallen| format!(": {fallen}"));
    Err(match closest {
        None | Some((Lacks::Subject, ..)) => {
            Refusal::because(not_given(shown.grant), granted, "no rule means the subject")
        }
        // As if there were no such rule: what it asks for is nobody's business.
        Some((Lacks::Condition, rule, fallen)) => {
            let why = format!("the rule does not mean the subject{}", because(fallen));
            Refusal::because(not_given(shown.grant), granted, why).by_rule(&rule.name)
        }
        Some((Lacks::Actor, rule, fallen)) => {
            let why =
                format!("the rule lets nobody act for the subject, or not this actor{}", because(fallen));
            Refusal::because(Code::InvalidRequest, granted, why).by_rule(&rule.name)
        }
        Some((Lacks::Target, rule, _)) => {
            let told = "no token is issued for what was asked";
            Refusal::because(Code::InvalidTarget, told, no_target(rule, wanted, variables))
                .by_rule(&rule.name)
        }
        Some((Lacks::Scope, rule, _)) => {
            let asked = said::texts(wanted.scopes.as_deref().unwrap_or_default());
            let why = format!("the rule does not give a scope that was asked: scopes {asked}");
            Refusal::because(Code::InvalidScope, "the scope is not granted", why).by_rule(&rule.name)
        }
    })
}

/// What was asked that the rule does not give, and why its own list has no value where it has none.
fn no_target(rule: &Rule, wanted: &Wanted, variables: &Variables<'_>) -> String {
    let mut why = match wanted.audiences.is_empty() && wanted.resources.is_empty() {
        true => "no audience was asked for, and the rule names none to give instead".to_owned(),
        false => format!(
            "the rule does not give what was asked: audiences {}, resources {}",
            said::texts(&wanted.audiences),
            said::texts(&wanted.resources)
        ),
    };
    if let Some(Err(e)) = rule.audiences_from.as_ref().map(|expression| texts(expression, variables)) {
        why.push_str(&format!("; its audiencesFrom has no value: {e}"));
    }
    why
}

/// What a rule lacks, and the condition that it falls by.
type Short<'a> = (Lacks, Option<Fallen<'a>>);

fn consider<'a>(
    rule: &'a Rule,
    shown: &Shown,
    (wanted, within): (&Wanted, Option<&[String]>),
    objects: &Snapshot,
    (variables, actors): (&Variables<'_>, Option<&Variables<'_>>),
) -> Result<Given<'a>, Short<'a>> {
    rule.from.means(&shown.subject, objects, variables).map_err(|e| match e {
        Unmeant::Another => (Lacks::Subject, None),
        Unmeant::Condition(fallen) => (Lacks::Condition, Some(fallen)),
    })?;
    acts(rule, shown, objects, actors).map_err(|fallen| (Lacks::Actor, fallen))?;
    let audiences = rule.targets(wanted, variables).map_err(|lacks| (lacks, None))?;
    let scopes = rule.scopes(wanted, within).map_err(|lacks| (lacks, None))?;
    Ok(Given { rule, audiences, scopes })
}

/// Whether the actor may act, or there need be none. Conditions on actors read what is known of the actor. `Err`: the first condition
/// that keeps the actor out, if one does.
fn acts<'a>(
    rule: &'a Rule,
    shown: &Shown,
    objects: &Snapshot,
    variables: Option<&Variables<'_>>,
) -> Result<(), Option<Fallen<'a>>> {
    let (actors, who) = match (&rule.actors, &shown.actor) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(None),
        (Some(actors), None) => return if actors.required { Err(None) } else { Ok(()) },
        (Some(actors), Some(who)) => (actors, who),
    };
    let named = actor::may_act(&shown.subject, who).unwrap_or(!actors.must_be_named());
    let Some(known) = variables.filter(|_| named) else { return Err(None) };
    let mut first = None;
    for from in &actors.from {
        match from.means(who, objects, known) {
            Ok(()) => return Ok(()),
            Err(Unmeant::Condition(fallen)) => first = first.or(Some(fallen)),
            Err(Unmeant::Another) => {}
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
