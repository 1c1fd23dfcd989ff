//! Connections and answers: TLS, statuses, headers.

use tokensmith_client::outsider::{Answer, Judged, Shown, Trouble};

use super::Outcome;
use crate::doctor::facts::{Asked, Certificate, Facts, Way, date, header, media_type};

/// Of each server that was seen over TLS, what it has shown.
fn shown(facts: &Facts) -> Vec<(&'static str, &Shown)> {
    facts.answers().filter_map(|(name, answer)| Some((name, answer.tls.as_ref()?))).collect()
}

/// The kindest of those who judged.
fn judged(shown: &Shown) -> Option<&Judged> {
    let all = [shown.authority.as_ref(), shown.system.as_ref()];
    let first = all.iter().flatten().copied();
    first
        .clone()
        .find(|judged| judged.good())
        .or_else(|| first.clone().find(|j| j.trusted.is_ok()))
        .or_else(|| first.clone().next())
}

/// A rule over what servers show: nothing to say where there is no TLS.
fn over_tls(facts: &Facts, good: &str, wrong: impl Fn(&Shown) -> Option<String>) -> Outcome {
    let all = shown(facts);
    if all.is_empty() {
        return Outcome::unknown("nothing was answered over TLS");
    }
    let found = all.iter().find_map(|(name, shown)| Some(format!("{name}: {}", wrong(shown)?)));
    Outcome::without(found.as_slice(), good)
}

fn leaf(shown: &Shown) -> Option<Certificate> {
    Certificate::parse(shown.chain.first()?)
}

/// Whether a certificate is missing between what was shown and a CA: the last one names an issuer, and where to have it.
fn gap(shown: &Shown) -> Option<Certificate> {
    let last = Certificate::parse(shown.chain.last()?)?;
    (last.says_where && !last.own_issuer()).then_some(last)
}

pub(super) fn trusted(facts: &Facts, public: bool) -> Outcome {
    let whom = if public {
        "a CA of the system's vouches for it"
    } else {
        "a CA that is trusted here vouches for it"
    };
    over_tls(facts, whom, |shown| {
        let judged = if public { shown.system.as_ref() } else { judged(shown) };
        let Some(judged) = judged else {
            return public.then(|| "this system has no CAs to judge by".to_owned());
        };
        match &judged.trusted {
            Ok(()) => None,
            // Said by `complete-chain`.
            Err(_) if gap(shown).is_some() => None,
            Err(why) => Some(match leaf(shown) {
                Some(leaf) if leaf.own_issuer() => {
                    format!("{} has signed its certificate itself", leaf.subject)
                }
                Some(leaf) => format!("{why}: its certificate is signed by {}", leaf.issuer),
                None => why.clone(),
            }),
        }
    })
}

pub(super) fn complete_chain(facts: &Facts) -> Outcome {
    over_tls(facts, "what it shows leads to a CA, or to one that is not known", |shown| {
        if judged(shown).is_some_and(|judged| judged.trusted.is_ok()) {
            return None;
        }
        gap(shown)
            .map(|last| format!("it shows {}, and not {}, who has signed it", last.subject, last.issuer))
    })
}

pub(super) fn certificate_name(facts: &Facts) -> Outcome {
    over_tls(facts, "it is for the host", |shown| {
        let judged = judged(shown)?;
        (!judged.named).then(|| "the certificate is for other names".to_owned())
    })
}

pub(super) fn certificate_time(facts: &Facts) -> Outcome {
    let now = facts.now;
    over_tls(facts, "it is within its time", |shown| {
        let end = leaf(shown)?.not_after;
        if end < now {
            return Some(format!("the certificate ended {} ago", span(now, end)));
        }
        let judged = judged(shown)?;
        (judged.trusted.is_ok() && !judged.in_time).then(|| "a certificate is not within its time".to_owned())
    })
}

pub(super) fn certificate_young(facts: &Facts, days: i64) -> Outcome {
    let now = facts.now;
    let left: Vec<i64> = shown(facts)
        .iter()
        .filter_map(|(_, shown)| Some(leaf(shown)?.not_after.saturating_sub(now)))
        .collect();
    match left.iter().min() {
        None => Outcome::unknown("nothing was answered over TLS"),
        Some(..0) => Outcome::unknown("it has ended already"),
        Some(left) => Outcome::when(
            *left >= days.saturating_mul(86_400),
            format!("{} left", days_of(*left)),
            format!("its certificate ends in {}", days_of(*left)),
        ),
    }
}

fn days_of(seconds: i64) -> String {
    tokensmith_api::duration::human(seconds.unsigned_abs())
}

fn span(a: i64, b: i64) -> String {
    tokensmith_api::duration::human(a.abs_diff(b))
}

pub(super) fn reachable(facts: &Facts) -> Outcome {
    if let Err(trouble) = &facts.addresses {
        return Outcome::fails(trouble.to_string());
    }
    let found: Vec<String> = facts
        .asked()
        .filter_map(|(name, asked)| Some(format!("{name}: {}", asked.plain.as_ref().err()?)))
        .collect();
    Outcome::without(&found, "both documents are answered")
}

pub(super) fn open(facts: &Facts) -> Outcome {
    if facts.answers().next().is_none() {
        return Outcome::unknown("nothing was answered");
    }
    let closed = |(name, answer): (&str, &Answer)| {
        matches!(answer.status.as_u16(), 401 | 403)
            .then(|| format!("{name}: {} to who has no credentials", answer.status.as_u16()))
    };
    let found: Vec<String> = facts.answers().filter_map(closed).collect();
    Outcome::without(&found, "nobody is asked for credentials")
}

pub(super) fn answers_within(facts: &Facts, seconds: u64) -> Outcome {
    let late = |asked: &Asked| matches!(asked.plain, Err(Trouble::Late(..)));
    if facts.asked().any(|(_, asked)| late(asked)) {
        return Outcome::fails("it has not answered at all in that time");
    }
    match facts.answers().map(|(_, answer)| answer.took).max() {
        None => Outcome::unknown("nothing was answered"),
        Some(took) => {
            let shown = format!("{} ms from here", took.as_millis());
            Outcome::when(took.as_secs() < seconds, shown.clone(), shown)
        }
    }
}

pub(super) fn no_redirects(facts: &Facts) -> Outcome {
    if facts.answers().next().is_none() {
        return Outcome::unknown("nothing was answered");
    }
    let found: Vec<String> = facts
        .answers()
        .filter_map(|(name, answer)| Some(format!("{name} is at {}", answer.hops.last()?)))
        .collect();
    Outcome::without(&found, "both documents are where they are said to be")
}

pub(super) fn json_types(facts: &Facts, discovery: &[String], keys: &[String]) -> Outcome {
    let wrong = |name: &str, asked: Option<&Asked>, accepted: &[String]| {
        let answer = asked?.good()?;
        let found = media_type(answer);
        let fits = accepted.is_empty() || found.as_ref().is_some_and(|found| accepted.contains(found));
        (!fits).then(|| format!("{name} comes as {}", found.as_deref().unwrap_or("no type")))
    };
    if facts.discovery.good().is_none() && facts.keys.as_ref().and_then(Asked::good).is_none() {
        return Outcome::unknown("there is no document");
    }
    let found: Vec<String> = [
        wrong("the discovery document", Some(&facts.discovery), discovery),
        wrong("the key set", facts.keys.as_ref(), keys),
    ]
    .into_iter()
    .flatten()
    .collect();
    Outcome::without(&found, "both come as JSON")
}

pub(super) fn head_answers(facts: &Facts) -> Outcome {
    let head = |asked: &Asked| {
        let (_, answer) = asked.others.iter().find(|(way, _)| *way == Way::Head)?;
        match answer {
            Ok(answer) if answer.status == 200 => Some(None),
            Ok(answer) => Some(Some(format!("{} to HEAD", answer.status.as_u16()))),
            Err(trouble) => Some(Some(trouble.to_string())),
        }
    };
    let seen: Vec<_> = facts.asked().filter_map(|(name, asked)| Some((name, head(asked)?))).collect();
    if seen.is_empty() {
        return Outcome::unknown("there is no document");
    }
    let found: Vec<String> =
        seen.into_iter().filter_map(|(name, wrong)| Some(format!("{name}: {}", wrong?))).collect();
    Outcome::without(&found, "HEAD is answered")
}

pub(super) fn same_for_all(facts: &Facts) -> Outcome {
    let differs = |asked: &Asked| {
        let plain = asked.good()?;
        asked.others.iter().find_map(|(way, answer)| match (way, answer) {
            (Way::Head, _) => None,
            (Way::Accept(accept), Ok(answer)) if answer.status != 200 => {
                Some(format!("{} to Accept: {accept}", answer.status.as_u16()))
            }
            (Way::Accept(accept), Ok(answer)) if answer.body != plain.body => {
                Some(format!("another body to Accept: {accept}, or another one than a moment ago"))
            }
            (Way::Accept(_), Ok(_)) => None,
            (Way::Accept(accept), Err(trouble)) => Some(format!("to Accept: {accept}: {trouble}")),
        })
    };
    if facts.discovery.good().is_none() {
        return Outcome::unknown("there is no document");
    }
    let found: Vec<String> =
        facts.asked().filter_map(|(name, asked)| Some(format!("{name}: {}", differs(asked)?))).collect();
    Outcome::without(&found, "each answer is the same, whatever is accepted")
}

pub(super) fn clock_right(facts: &Facts, seconds: i64) -> Outcome {
    let Ok(answer) = &facts.discovery.plain else { return Outcome::unknown("nothing was answered") };
    let Some(date) = date(answer) else {
        let found = if header(answer, "date").is_some() { "its Date is no date" } else { "it says no Date" };
        return Outcome::unknown(found);
    };
    let off = date.abs_diff(facts.now);
    let which = if date > facts.now { "ahead of" } else { "behind" };
    Outcome::when(
        off <= seconds.unsigned_abs(),
        "its clock and this machine's agree",
        format!("its clock is {} {which} this machine's", tokensmith_api::duration::human(off)),
    )
}
