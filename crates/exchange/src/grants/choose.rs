//! Which rule decides.

use tokensmith_core::view::Snapshot;
use tokensmith_expressions::Variables;

use super::Shown;
use crate::actor;
use crate::oauth::{Code, Refusal};
use crate::policy::{GrantType, Lacks, Policy, Rule, Wanted};

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
    let mut closest: Option<(Lacks, &str)> = None;
    for rule in policy.rules.of(&shown.subject) {
        if !rule.grants.contains(&shown.grant) {
            continue;
        }
        let lacks = match consider(rule, shown, (wanted, within.as_deref()), objects, (variables, actors)) {
            Ok(given) => return Ok(given),
            Err(lacks) => lacks,
        };
        if closest.is_none_or(|(before, _)| lacks > before) {
            closest = Some((lacks, &rule.name));
        }
    }
    let granted = "the request is not granted";
    Err(match closest {
        None | Some((Lacks::Subject, _)) => {
            Refusal::because(not_given(shown.grant), granted, "no rule means the subject")
        }
        Some((Lacks::Actor, rule)) => {
            let why = "the rule lets nobody act for the subject, or not this actor";
            Refusal::because(Code::InvalidRequest, granted, why).by_rule(rule)
        }
        Some((Lacks::Target, rule)) => {
            let told = "no token is issued for what was asked";
            Refusal::because(Code::InvalidTarget, told, "the rule does not give what was asked").by_rule(rule)
        }
        Some((Lacks::Scope, rule)) => {
            let told = "the scope is not granted";
            Refusal::because(Code::InvalidScope, told, "the rule does not give a scope that was asked")
                .by_rule(rule)
        }
    })
}

fn consider<'a>(
    rule: &'a Rule,
    shown: &Shown,
    (wanted, within): (&Wanted, Option<&[String]>),
    objects: &Snapshot,
    (variables, actors): (&Variables<'_>, Option<&Variables<'_>>),
) -> Result<Given<'a>, Lacks> {
    if !rule.from.matches(&shown.subject, objects, variables) {
        return Err(Lacks::Subject);
    }
    if !acts(rule, shown, objects, actors) {
        return Err(Lacks::Actor);
    }
    let audiences = rule.targets(wanted, variables)?;
    let scopes = rule.scopes(wanted, within)?;
    Ok(Given { rule, audiences, scopes })
}

/// Whether the actor may act, or there need be none. Conditions on actors read what is known of the actor.
fn acts(rule: &Rule, shown: &Shown, objects: &Snapshot, variables: Option<&Variables<'_>>) -> bool {
    match (&rule.actors, &shown.actor) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(actors), None) => !actors.required,
        (Some(actors), Some(who)) => {
            let named = actor::may_act(&shown.subject, who).unwrap_or(!actors.must_be_named());
            named
                && variables
                    .is_some_and(|known| actors.from.iter().any(|from| from.matches(who, objects, known)))
        }
    }
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
