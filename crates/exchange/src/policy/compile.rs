//! From a file to a policy: everything that can be told when it is read is told then, with its place.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};
use tokensmith_api::duration::typed;
use tokensmith_client::{Trust, Web};
use tokensmith_core::keys::PublishedKeys;
use tokensmith_core::tokens::access_token::fence;
use tokensmith_core::tokens::pattern::Pattern;
use tokensmith_expressions::{Expression, Variables};
use tokensmith_objects::names;
use tokensmith_objects::selector::LabelSelector;
use tokensmith_verify::trust::{KeySource, TrustConfig, TrustedIssuer, TrustedIssuers};
use url::Url;

use super::file::{
    File, PolicyError, RawActors, RawClient, RawFrom, RawGrant, RawIssuer, RawRule, RawUse, Text,
};
use super::from::{Account, From, Who};
use super::rules::{Actors, texts};
use super::{Client, Context, Policy, Rule, Rules, Takes, VARIABLES};
use crate::endpoint::TOKEN;
use crate::rate::Rate;
use crate::upstream::Upstream;

/// What a rule's tokens live for where it says nothing.
const LIFETIME: i64 = 600;
/// The longest life that a rule may give.
const LONGEST: i64 = 1 << 32;

type Read<T> = Result<T, PolicyError>;

/// Compiles a file. `before` is the policy in force: keys of issuers whose documents stay where they are, as trusted servers have them,
/// are taken over.
pub(super) fn policy(text: &[u8], folder: &Path, context: &Context, before: Option<&Policy>) -> Read<Policy> {
    let file = File::parse(text)?;
    let url = match &file.url {
        Some(url) => base(url)?,
        None => context.issuer.trim_end_matches('/').to_owned(),
    };
    let usual = vec![context.issuer.clone(), format!("{url}{TOKEN}")];
    let takes = |audiences: &[Text], assertions: Option<RawUse>, once: bool| {
        let given: Vec<String> = audiences.iter().map(|audience| audience.value.clone()).collect();
        if let Some(empty) = audiences.iter().find(|audience| audience.value.is_empty()) {
            return Err(PolicyError::at(empty.referenced, "an audience is empty"));
        }
        Ok(Takes {
            audiences: if given.is_empty() { usual.clone() } else { given },
            once: assertions.map_or(once, |given| matches!(given, RawUse::Once)),
        })
    };
    let own = file.service_accounts.unwrap_or_default();
    // A projected token is read again and again until the kubelet has a new one.
    let accounts = takes(&own.audiences, own.assertions, false)?;
    let (mut issuers, mut list) = (HashMap::new(), Vec::new());
    for raw in &file.issuers {
        list.push(issuer(raw, folder, context)?);
        let taken = takes(&raw.audiences, raw.assertions, true)?;
        if issuers.insert(raw.issuer.value.clone(), taken).is_some() {
            return Err(PolicyError::at(raw.issuer.referenced, "this issuer is there twice"));
        }
    }
    let cas = file.ca_file.as_ref().map(|path| cas(path, folder)).transpose()?;
    let ca_file = file.ca_file.as_ref().map(|path| folder.join(&path.value));
    let files: HashSet<&str> = file
        .issuers
        .iter()
        .filter(|raw| raw.keys_file.is_some())
        .map(|raw| raw.issuer.value.as_str())
        .collect();
    let made = trusted(&file.issuers, list.clone(), cas.as_deref(), context)?;
    let trusted = match before.filter(|before| before.cas == cas) {
        // A file is there to be read again.
        Some(before) => made.carrying(&before.trusted, |issuer| !files.contains(issuer)),
        None => made,
    };
    let known = |issuer: &str| issuers.contains_key(issuer);
    let upstreams = before.map(|before| before.rules.upstreams()).unwrap_or_default();
    let mut names = HashSet::new();
    let mut rules = Vec::with_capacity(file.rules.len());
    for raw in &file.rules {
        if !names.insert(raw.name.value.as_str()) {
            return Err(PolicyError::at(
                raw.name.referenced,
                "this is the name of an earlier rule: use another",
            ));
        }
        let upstream = upstream(raw, folder, context, &upstreams)?;
        rules.push(rule(raw, &known, upstream, context)?);
    }
    let clients = file.clients.iter().map(|raw| client(raw, &known).map(Arc::new)).collect::<Read<_>>()?;
    Ok(Policy {
        url,
        accounts,
        issuers,
        trusted: Arc::new(trusted),
        rules: Rules::new(rules),
        clients,
        list,
        cas,
        ca_file,
    })
}

/// Where a server is: an https URL (or http of this machine, for tests) without query and fragment.
fn base(url: &Text) -> Read<String> {
    let wrong = || {
        PolicyError::at(
            url.referenced,
            "must be a URL of this server without query and fragment, such as https://tokens.example.com",
        )
    };
    let parsed = Url::parse(&url.value).map_err(|_| wrong())?;
    let here = parsed.host_str().is_some_and(|host| {
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    });
    let fits = (parsed.scheme() == "https" || parsed.scheme() == "http" && here)
        && parsed.query().is_none()
        && parsed.fragment().is_none();
    if !fits || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong());
    }
    Ok(url.value.trim_end_matches('/').to_owned())
}

fn cas(path: &Text, folder: &Path) -> Read<Vec<u8>> {
    std::fs::read(folder.join(&path.value))
        .map_err(|e| PolicyError::at(path.referenced, format!("{}: {e}", path.value)))
}

fn issuer(raw: &RawIssuer, folder: &Path, context: &Context) -> Read<TrustedIssuer> {
    let (name, place) = (raw.issuer.value.as_str(), raw.issuer.referenced);
    if name.contains('#') {
        return Err(PolicyError::at(place, "an issuer has no '#': what follows one is a subject"));
    }
    // What subjects of its tokens begin with must be nobody else's.
    fence::subject(&format!("{name}#"), None).map_err(|e| PolicyError::at(place, e.to_string()))?;
    // However it is spelt: who reads `iss` loosely takes the one for the other.
    let alike = |issuer: &str| issuer.trim_end_matches('/').to_lowercase();
    if context.own_issuers.iter().any(|own| alike(own) == alike(name)) {
        return Err(PolicyError::at(
            place,
            "this is the server's own issuer: rules name its accounts by `serviceAccount`",
        ));
    }
    let keys = match (&raw.discovery, &raw.keys_file) {
        (Some(at), Some(_)) => {
            return Err(PolicyError::at(at.referenced, "there is a keysFile, too: keep one of them"));
        }
        (Some(at), None) => KeySource::DiscoveryAt(at.value.clone()),
        (None, Some(path)) => KeySource::File(key_set(path, folder)?),
        (None, None) => KeySource::Discovery,
    };
    Ok(TrustedIssuer { issuer: name.to_owned(), keys })
}

/// A key set that is there and is one.
fn key_set(path: &Text, folder: &Path) -> Read<PathBuf> {
    let wrong = |cause: &dyn std::fmt::Display| {
        PolicyError::at(path.referenced, format!("the key set {}: {cause}", path.value))
    };
    let place = folder.join(&path.value);
    let text = std::fs::read(&place).map_err(|e| wrong(&e))?;
    let keys = PublishedKeys::parse(&text).map_err(|e| wrong(&e))?;
    if keys.is_empty() { Err(wrong(&"it has no keys")) } else { Ok(place) }
}

fn trusted(
    raw: &[RawIssuer],
    list: Vec<TrustedIssuer>,
    cas: Option<&[u8]>,
    context: &Context,
) -> Read<TrustedIssuers> {
    let whole = |problem: String| PolicyError { line: 0, column: 0, problem };
    let web = Web::new(&Trust::System, cas).map_err(|e| whole(format!("caFile: {e}")))?;
    let web = Arc::new(web);
    let config = || TrustConfig { clock: context.clock.clone(), ..TrustConfig::new(web.clone()) };
    TrustedIssuers::new(list.clone(), config()).map_err(|e| {
        // Which of them it is.
        let alone = |issuer: TrustedIssuer| TrustedIssuers::new([issuer], config()).is_err();
        let at = list.into_iter().position(alone).and_then(|at| raw.get(at));
        match at {
            Some(raw) => PolicyError::at(raw.issuer.referenced, e.to_string()),
            None => whole(e.to_string()),
        }
    })
}

fn client(raw: &RawClient, known: &dyn Fn(&str) -> bool) -> Read<Client> {
    name(&raw.name)?;
    let from = from(&raw.from, known)?;
    if raw.may.is_empty() {
        return Err(PolicyError::at(raw.name.referenced, "`may` lists nothing: introspect, revoke"));
    }
    let audiences = raw.audiences.iter().map(pattern).collect::<Read<_>>()?;
    Ok(Client { name: raw.name.value.clone(), from, may: raw.may.clone(), audiences })
}

fn name(name: &Text) -> Read<()> {
    if names::label(&name.value).is_empty() {
        return Ok(());
    }
    let problem = "is no name: use up to 63 lower-case letters, digits and '-'";
    Err(PolicyError::at(name.referenced, problem))
}

/// Where a rule's tokens come from elsewhere; with what it keeps, where the policy before had the same.
fn upstream(
    raw: &RawRule,
    folder: &Path,
    context: &Context,
    before: &HashMap<&str, &Arc<Upstream>>,
) -> Read<Option<Arc<Upstream>>> {
    let Some(block) = &raw.upstream else { return Ok(None) };
    let ours = [
        ("boundLifetime", raw.bound_lifetime.is_some()),
        ("claims", !raw.claims.is_empty()),
        ("lifetime", raw.lifetime.is_some()),
        ("neverLongerThanSubject", raw.never_longer_than_subject.is_some()),
        ("subject", raw.subject.is_some()),
    ];
    if let Some((field, _)) = ours.iter().find(|(_, given)| *given) {
        let problem = format!("upstream: {field} has no say in tokens of another service: leave it out");
        return Err(PolicyError::at(block.referenced, problem));
    }
    let made = Upstream::new(&block.value, folder, &context.api_audiences, &context.clock)
        .map_err(|e| PolicyError::at(block.referenced, format!("upstream: {e}")))?;
    Ok(Some(made.or_before(before.get(raw.name.value.as_str()).copied())))
}

fn rule(
    raw: &RawRule,
    known: &dyn Fn(&str) -> bool,
    upstream: Option<Arc<Upstream>>,
    context: &Context,
) -> Read<Rule> {
    name(&raw.name)?;
    let grants = match &raw.grants {
        None => vec![RawGrant::ClientCredentials, RawGrant::JwtBearer, RawGrant::TokenExchange],
        Some(Spanned { value, referenced, .. }) if value.is_empty() => {
            return Err(PolicyError::at(
                *referenced,
                "lists nothing: token-exchange, client-credentials, jwt-bearer",
            ));
        }
        Some(given) => given.value.clone(),
    };
    let from = from(&raw.from, known)?;
    for audience in raw.audiences.iter().chain(&raw.resources) {
        let place = audience.referenced;
        fence::audience(&audience.value, &context.api_audiences)
            .map_err(|e| PolicyError::at(place, e.to_string()))?;
    }
    if raw.audiences.is_empty() && raw.audiences_from.is_none() && raw.resources.is_empty() {
        return Err(PolicyError::at(
            raw.name.referenced,
            "the rule gives no audience: name one under `audiences`",
        ));
    }
    for resource in &raw.resources {
        if resource.value.contains('#') {
            return Err(PolicyError::at(resource.referenced, "a resource has no fragment (RFC 8707 §2)"));
        }
    }
    for scope in &raw.scopes {
        if !crate::grants::is_scope(&scope.value) {
            return Err(PolicyError::at(
                scope.referenced,
                "is no scope (RFC 6749 §3.3): no blanks, quotes or backslashes",
            ));
        }
    }
    let actors = raw.actors.as_ref().map(|raw| actors(raw, known)).transpose()?;
    let lifetime = raw.lifetime.as_ref().map(seconds).transpose()?.unwrap_or(LIFETIME);
    let bound_lifetime = raw.bound_lifetime.as_ref().map(seconds).transpose()?;
    let rate = raw.rate.as_ref().map(|raw| {
        let per = u64::try_from(seconds(&raw.value.per)?).unwrap_or(1);
        match raw.value.tokens {
            0 => Err(PolicyError::at(
                raw.referenced,
                "a rate of no tokens gives nobody any: leave the rule out",
            )),
            count => Ok(Rate { count, per: Duration::from_secs(per) }),
        }
    });
    let rule = Rule {
        name: raw.name.value.clone(),
        grants,
        from,
        actors,
        audiences: raw.audiences.iter().map(|a| Pattern::new(&a.value)).collect(),
        audiences_from: raw.audiences_from.as_ref().map(expression).transpose()?,
        resources: raw.resources.iter().map(|r| Pattern::new(&r.value)).collect(),
        scopes: raw.scopes.iter().map(|s| s.value.clone()).collect(),
        subject: raw.subject.as_ref().map(expression).transpose()?,
        claims: claims(raw)?,
        lifetime,
        bound_lifetime,
        never_longer_than_subject: raw.never_longer_than_subject.unwrap_or(true),
        rate: rate.transpose()?,
        upstream,
    };
    literals(raw, &rule, context)?;
    Ok(rule)
}

/// What reads no variable is known already, and held against the fence.
fn literals(raw: &RawRule, rule: &Rule, context: &Context) -> Read<()> {
    let none = Variables::new();
    let fixed = |expression: &Expression| VARIABLES.iter().all(|variable| !expression.uses(variable));
    let place = |text: &Option<Text>| text.as_ref().map_or(raw.name.referenced, |text| text.referenced);
    let at = |place: Location| move |e: &dyn std::fmt::Display| PolicyError::at(place, e.to_string());
    if let Some(expression) = rule.subject.as_ref().filter(|e| fixed(e)) {
        let wrong = at(place(&raw.subject));
        let subject = expression.evaluate_string(&none).map_err(|e| wrong(&e))?;
        fence::subject(&subject, None).map_err(|e| wrong(&e))?;
    }
    if let Some(expression) = rule.audiences_from.as_ref().filter(|e| fixed(e)) {
        let wrong = at(place(&raw.audiences_from));
        for audience in texts(expression, &none).map_err(|e| wrong(&e))? {
            fence::audience(&audience, &context.api_audiences).map_err(|e| wrong(&e))?;
        }
    }
    for (name, expression) in rule.claims.iter().filter(|(_, e)| fixed(e)) {
        let wrong = at(raw.claims.get(name).map_or(raw.name.referenced, |text| text.referenced));
        let value = expression.evaluate(&none).map_err(|e| wrong(&e))?;
        fence::claims(&[(name.clone(), value)].into_iter().collect()).map_err(|e| wrong(&e))?;
    }
    Ok(())
}

fn claims(raw: &RawRule) -> Read<Vec<(String, Expression)>> {
    let made = raw.claims.iter().map(|(name, text)| {
        let wrong = |e: &dyn std::fmt::Display| PolicyError::at(text.referenced, e.to_string());
        fence::claim_name(name).map_err(|e| wrong(&e))?;
        // The name by the rules of all claims, with a value that is none to speak of.
        fence::claims(&[(name.clone(), true.into())].into_iter().collect()).map_err(|e| wrong(&e))?;
        Ok((name.clone(), expression(text)?))
    });
    made.collect()
}

fn actors(raw: &RawActors, known: &dyn Fn(&str) -> bool) -> Read<Actors> {
    if raw.from.value.is_empty() {
        return Err(PolicyError::at(raw.from.referenced, "lists nobody: leave `actors` out"));
    }
    let from = raw.from.value.iter().map(|one| from(one, known)).collect::<Read<Vec<_>>>()?;
    if let Some(at) =
        raw.from.value.iter().zip(&from).find(|(_, from)| matches!(from.who, Who::Exchanged { .. }))
    {
        return Err(PolicyError::at(
            at.0.referenced,
            "who acts shows a token of its own, and none that was exchanged",
        ));
    }
    Ok(Actors { from, required: raw.required, may_act: raw.may_act })
}

fn from(raw: &Spanned<RawFrom>, known: &dyn Fn(&str) -> bool) -> Read<From> {
    let place = raw.referenced;
    let raw = &raw.value;
    let who = match (&raw.service_account, &raw.issuer, &raw.exchanged) {
        (Some(account), None, None) => {
            let labels = |text: &Option<Text>| text.as_ref().map(selector).transpose();
            Who::Account(Box::new(Account {
                namespace: pattern(&account.namespace)?,
                name: account.name.as_ref().map_or_else(|| Ok(Pattern::new("*")), pattern)?,
                labels: labels(&account.labels)?,
                namespace_labels: labels(&account.namespace_labels)?,
                pod_labels: labels(&account.pod_labels)?,
            }))
        }
        (None, Some(issuer), None) => {
            if !known(&issuer.value) {
                return Err(PolicyError::at(issuer.referenced, "this issuer is not among the `issuers`"));
            }
            let missing =
                || PolicyError::at(issuer.referenced, "`subject` is missing: a pattern, '*' for all");
            let subject = pattern(raw.subject.as_ref().ok_or_else(missing)?)?;
            Who::Issuer { issuer: issuer.value.clone(), subject }
        }
        (None, None, Some(exchanged)) => Who::Exchanged {
            audience: pattern(&exchanged.audience)?,
            subject: exchanged.subject.as_ref().map_or_else(|| Ok(Pattern::new("*")), pattern)?,
        },
        _ => {
            return Err(PolicyError::at(place, "name exactly one of serviceAccount, issuer and exchanged"));
        }
    };
    if let (Some(subject), false) = (&raw.subject, matches!(who, Who::Issuer { .. })) {
        return Err(PolicyError::at(subject.referenced, "`subject` goes with `issuer` alone"));
    }
    let conditions = raw.conditions.iter().map(condition).collect::<Read<_>>()?;
    Ok(From { who, conditions })
}

fn pattern(text: &Text) -> Read<Pattern> {
    match text.value.is_empty() {
        true => Err(PolicyError::at(text.referenced, "is empty: write a pattern, '*' for all")),
        false => Ok(Pattern::new(&text.value)),
    }
}

fn selector(text: &Text) -> Read<LabelSelector> {
    LabelSelector::parse(&text.value).map_err(|e| PolicyError::at(text.referenced, e.to_string()))
}

/// Compiled; the place is that of the text, and within it the expression's own.
fn expression(text: &Text) -> Read<Expression> {
    Expression::compile(&text.value, VARIABLES)
        .map_err(|e| PolicyError::at(text.referenced, format!("the expression, at {e}")))
}

/// One that reads no variable is known already: it must be true or false.
fn condition(text: &Text) -> Read<Expression> {
    let made = expression(text)?;
    if VARIABLES.iter().all(|variable| !made.uses(variable)) {
        made.evaluate_bool(&Variables::new())
            .map_err(|e| PolicyError::at(text.referenced, format!("the condition has no value: {e}")))?;
    }
    Ok(made)
}

fn seconds(text: &Text) -> Read<i64> {
    let wrong = |problem: String| PolicyError::at(text.referenced, problem);
    let given = typed(&text.value).map_err(|e| wrong(format!("{e}: write e.g. 10m, 1h30m or 7d")))?;
    let seconds = given.whole_seconds();
    match given.is_whole() && (1..=LONGEST).contains(&seconds) {
        true => Ok(seconds),
        false => Err(wrong("must be a whole number of seconds above zero, and 2^32 at most".into())),
    }
}
